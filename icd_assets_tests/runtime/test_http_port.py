"""A port under connections that never ask, and under heads and bodies that never end: it goes on answering."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from icd_assets.defs.webserver.access import Access
from icd_assets.defs.webserver.guard import Guard as UiGuard
from icd_assets.runtime import http_port
from icd_assets.use.guard import Guard as ServeGuard
from icd_assets_tests.worlds.served_app import Handled, sent, served_app


@pytest.fixture(params=["ui", "serve"])
def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(http_port, "HEADERS", 1.0)
    monkeypatch.setattr(http_port, "WAITING", 30)
    monkeypatch.setattr(http_port, "_SECONDS", 1.0)
    app = Handled().app()
    if request.param == "ui":
        guarded: UiGuard | ServeGuard = UiGuard(app, access=Access())
    else:
        guarded = ServeGuard(app, names=(), token=None)
    with served_app(guarded) as found:
        yield found


def head(*headers: str) -> bytes:
    lines = ["POST /select HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode()


def answers(port: int) -> bool:
    return sent(port, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").startswith(b"HTTP/1.1 200")


def ended(connection: socket.socket, seconds: float = 5) -> bool:
    """Whether the server closes it by then."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def trickled(port: int, first: bytes, each: bytes, seconds: float = 5) -> bytes:
    """What is answered to a client that goes on sending a little, until the server closes or the time is over."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(first)
        connection.settimeout(5)
        end, found = time.monotonic() + seconds, b""
        while time.monotonic() < end:
            try:
                connection.sendall(each)
                if not select.select([connection], [], [], 0.05 if len(each) < 100 else 0)[0]:
                    continue
                if (part := connection.recv(65536)) == b"":
                    return found
                found += part
            except OSError:
                return found
        raise AssertionError("it is still waited for")


@pytest.mark.parametrize("first", [b"", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
def test_half_open_connections_shut_nobody_out(port: int, first: bytes) -> None:
    number = 3 * http_port.WAITING
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(number)]
        for connection in opened:
            try:
                connection.sendall(first)
            except OSError:  # closed already
                continue
        assert answers(port)
        assert all(ended(connection) for connection in opened)


def test_a_head_that_trickles_or_never_ends_is_cut(port: int) -> None:
    assert trickled(port, b"GET / HTTP/1.1\r\n", b"X: y\r\n") == b""
    endless = trickled(port, b"GET / HTTP/1.1\r\n", b"X: " + b"y" * 4096 + b"\r\n")
    assert endless == b"" or b"400" in endless
    used = head("Content-Length: 0") + b"GET / HTTP/1.1\r\n"  # the second request of a connection
    assert trickled(port, used, b"X: y\r\n").count(b"HTTP/1.1") == 1


def test_a_body_that_trickles_is_cut(port: int) -> None:
    assert b"HTTP/1.1 408" in trickled(port, head("Content-Length: 999"), b"x")
    assert b"HTTP/1.1 408" in trickled(port, head("Transfer-Encoding: chunked"), b"1\r\nx\r\n")


def test_answers_that_nobody_reads_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that take a byte at a time of a long answer hold neither memory nor connections for long."""
    monkeypatch.setattr(http_port, "READING", 1.0)
    monkeypatch.setattr(http_port, "UNREAD", 20)

    async def long(request: Request) -> Response:
        return Response(b"x" * (16 << 20)) if request.url.path == "/long" else Response(b"short")

    with served_app(Starlette(routes=[Route("/{path:path}", long)])) as port, ExitStack() as stack:
        slow = []
        for _ in range(60):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(b"GET /long HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            connection.recv(1)
            slow.append(connection)
        assert answers(port)
        time.sleep(1.5)
        assert answers(port)
        (unread,) = [found for state, found in http_port._unread.items() if found is not None][-1:]
        assert unread == {}
        whole = sent(port, b"GET /long HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert len(whole) > 16 << 20, "who reads gets all of it"


def test_a_body_that_is_too_big_is_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_port, "BODY", 1 << 20)
    announced = trickled(port, head(f"Content-Length: {1 << 30}"), b"x" * 65536, seconds=20)
    assert announced.startswith(b"HTTP/1.1 413")
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert b"HTTP/1.1 413" in trickled(port, head("Transfer-Encoding: chunked"), piece, seconds=20)
    assert answers(port)


def test_bodies_together_are_bounded_and_counted_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_port, "_SECONDS", 10.0)
    monkeypatch.setattr(http_port, "_TOGETHER", 1000)
    whole = head("Content-Length: 600") + b"x" * 600
    with socket.create_connection(("127.0.0.1", port)) as first:
        first.sendall(head("Content-Length: 601") + b"x" * 600)
        time.sleep(0.3)
        assert b"HTTP/1.1 503" in sent(port, whole)
        first.sendall(b"x")
        assert first.recv(100).startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 200" in sent(port, whole)
