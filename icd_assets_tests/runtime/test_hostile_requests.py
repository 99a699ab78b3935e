"""Requests as no browser writes them, byte by byte, through uvicorn, to both guards: what each is answered.

0 stands for a connection that is closed without an answer of the app or the guards: uvicorn's own 400 or none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from icd_assets.defs.webserver.access import Access
from icd_assets.defs.webserver.guard import Guard as UiGuard
from icd_assets.use.guard import Guard as ServeGuard
from icd_assets_tests.worlds.served_app import Handled, sent, served_app

JSON = "Content-Type: application/json"
Served = dict[str, tuple[int, Handled]]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    ui, serve = Handled(), Handled()
    guarded_ui = UiGuard(ui.app(), access=Access(names=frozenset({"gpu7"})))
    guarded_serve = ServeGuard(serve.app(), names=frozenset({"gpu7"}), token=None)
    with served_app(guarded_ui) as ui_port, served_app(guarded_serve) as serve_port:
        yield {"ui": (ui_port, ui), "serve": (serve_port, serve)}


def post(*headers: str, target: str = "/graphql", method: str = "POST", host: str | None = "PORT") -> str:
    """Of the body ``{}``; PORT stands for the server's own Host."""
    own = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *own, "Content-Length: 2", *headers, "", "{}"])


def get(*headers: str, target: str = "/", method: str = "GET", host: str | None = "PORT") -> str:
    own = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *own, *headers, "", ""])


def chunked(*headers: str, version: str = "1.1") -> str:
    return "\r\n".join([f"POST /select HTTP/{version}", "Host: PORT", JSON, *headers, "", "2\r\n{}\r\n0\r\n\r\n"])


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
SOCKET = (*UPGRADE, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
PASSES, FOREIGN_HOST, FOREIGN, UNCLEAR, NO_HTTP = (200, 200), (403, 400), (403, 403), (403, 400), (0, 0)
# What is sent, and the statuses of the UI's guard and of serve's.
TABLE: list[tuple[str, tuple[int, int]]] = [
    # programs, and the server's own pages
    (get(), PASSES),
    (post(JSON), PASSES),
    (post(JSON, "Origin: http://PORT", "Sec-Fetch-Site: same-origin"), PASSES),
    (post(JSON, "Origin: https://PORT"), PASSES),  # a proxy with TLS in front
    (post("Content-Type: APPLICATION/JSON; charset=UTF-8"), PASSES),
    (post("Content-Type: application/json;charset=utf-7"), PASSES),
    (get(method="HEAD"), PASSES),
    (chunked("Transfer-Encoding: chunked"), PASSES),
    # Host
    (get(host="127.0.0.1"), PASSES),
    (get(host="LOCALHOST:65535"), PASSES),
    (get(host="localhost.:1"), PASSES),
    (get(host="[::1]:8400"), PASSES),
    (get(host="[0:0:0:0:0:0:0:1]"), PASSES),
    (get(host="GPU7."), PASSES),
    (get(host=""), FOREIGN_HOST),
    (get(host=" "), FOREIGN_HOST),
    (get(host="."), FOREIGN_HOST),
    (get(host=":80"), FOREIGN_HOST),
    (get(host="evil.example"), FOREIGN_HOST),
    (get(host="127.0.0.1.evil.example"), FOREIGN_HOST),
    (get(host="localhost.evil.example:80"), FOREIGN_HOST),
    (get(host="gpu7.evil.example"), FOREIGN_HOST),
    (get(host="user@127.0.0.1"), FOREIGN_HOST),
    (get(host="127.0.0.1:80@evil.example"), FOREIGN_HOST),
    (get(host="127.0.0.1:٣"), FOREIGN_HOST),
    (get(host="١٢٧.0.0.1"), FOREIGN_HOST),
    (get(host="lоcalhost"), FOREIGN_HOST),  # a Cyrillic о
    (get(host="[::1"), FOREIGN_HOST),
    (get(host="[::1%25eth0].evil.example"), FOREIGN_HOST),
    (get(host="0177.0.0.1"), FOREIGN_HOST),
    (get(host="127.1"), FOREIGN_HOST),
    (get(host="localhost:123456"), FOREIGN_HOST),
    (get(host="localhost, evil.example"), FOREIGN_HOST),
    (get("Host: evil.example"), NO_HTTP),
    (get(host=None), NO_HTTP),
    (get(host=None).replace("HTTP/1.1", "HTTP/1.0"), FOREIGN_HOST),
    (get("X-Forwarded-Host: localhost", "Forwarded: host=localhost", host="evil.example"), FOREIGN_HOST),
    # Origin and Sec-Fetch-Site
    (post(JSON, "Origin: null"), FOREIGN),
    (post(JSON, "Origin:"), FOREIGN),
    (post(JSON, "Origin: http://["), FOREIGN),
    (post(JSON, "Origin: http://127.0.0.1"), FOREIGN),
    (post(JSON, "Origin: http://127.0.0.1:1"), FOREIGN),
    (post(JSON, "Origin: http://PORT.evil.example"), FOREIGN),
    (post(JSON, "Origin: http://PORT@evil.example"), FOREIGN),
    (post(JSON, "Origin: http://PORT http://evil.example"), FOREIGN),
    (post(JSON, "Origin: PORT"), FOREIGN),
    (post(JSON, "Origin: ftp://PORT"), FOREIGN),
    (post(JSON, "Origin: moz-extension://PORT"), FOREIGN),
    (post(JSON, "Origin: file://"), FOREIGN),
    (get("Sec-Fetch-Site: cross-site"), FOREIGN),
    (get("Sec-Fetch-Site: same-site"), FOREIGN),
    (get("Sec-Fetch-Site: none, same-origin"), FOREIGN),
    # twice the same header, and two lengths
    (post(JSON, "Origin: http://PORT", "Origin: http://evil.example"), UNCLEAR),
    (post(JSON, "Content-Type: text/plain"), UNCLEAR),
    (post(JSON, "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"), UNCLEAR),
    (get("Authorization: Bearer a", "Authorization: Bearer b"), UNCLEAR),
    (post(JSON, "Content-Length: 3"), NO_HTTP),
    (chunked("Transfer-Encoding: chunked", "Content-Length: 2"), UNCLEAR),
    (chunked("Transfer-Encoding: chunked", version="1.0"), UNCLEAR),
    (chunked("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), NO_HTTP),
    (chunked("Transfer-Encoding: gzip, chunked"), NO_HTTP),
    (chunked("Transfer-Encoding:\x0bchunked"), NO_HTTP),
    (chunked("Transfer-Encoding : chunked"), NO_HTTP),
    (chunked("Content-Length: -1"), NO_HTTP),
    (chunked("Content-Length: 1e3"), NO_HTTP),
    (post(JSON).replace("Content-Length: 2", "Content-Length: 99999999999999999999"), UNCLEAR),
    (post(JSON).replace("Content-Length: 2", "Content-Length: 9999999999"), (413, 413)),
    # targets
    (get(target="http://PORT/"), UNCLEAR),
    (get(target="http://evil.example/graphql"), UNCLEAR),
    (get(target="evil.example:80", method="CONNECT"), UNCLEAR),
    (get(target="*", method="OPTIONS"), UNCLEAR),
    # what only the UI's guard asks: orders are JSON posts
    (post(), (403, 200)),
    (post("Content-Type:"), (403, 200)),
    (post("Content-Type: application/json, text/plain"), (403, 200)),
    (post("Content-Type: text/plain; application/json"), (403, 200)),
    (post("Content-Type: application/jsonp"), (403, 200)),
    (get(target="/graphql?query=mutation"), (403, 200)),
    (get(target="//graphql?query=mutation"), (403, 200)),
    (get(target="/%2e%2e/graphql?query=mutation"), (403, 200)),
    (get(target="/x/%2e%2e/%67raphql/?query=mutation"), (403, 200)),
    (get("X-HTTP-Method-Override: POST", JSON, target="/graphql"), (403, 200)),
    (get(target="/graphql?query=mutation", method="HEAD"), (403, 200)),
    *((get(target="/graphql", method=method), (403, 200)) for method in ("OPTIONS", "TRACE", "PUT", "QUERY")),
    # websockets, of which serve has none
    (get(*SOCKET, "Origin: http://PORT"), (101, 403)),
    (get(*SOCKET), (101, 403)),
    (get(*SOCKET, "Origin: http://evil.example"), FOREIGN),
    (get(*SOCKET, "Origin: null"), FOREIGN),
    (get(*SOCKET, host="evil.example"), FOREIGN),
    (get(*SOCKET, "Sec-Fetch-Site: cross-site"), FOREIGN),
]


@pytest.mark.parametrize(("request_text", "statuses"), TABLE, ids=map(str, range(len(TABLE))))
@pytest.mark.parametrize("which", ["ui", "serve"])
def test_a_request_is_answered_as_the_table_says(
    served: Served, which: str, request_text: str, statuses: tuple[int, int]
) -> None:
    port, handled = served[which]
    handled.requests.clear()
    answer = sent(port, request_text.replace("PORT", f"127.0.0.1:{port}").encode())
    line = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    status = 0 if line is None or b"Invalid HTTP request" in answer else int(line[1])
    assert status == statuses[which == "serve"], answer
    assert len(handled.requests) == (status in (101, 200)), handled.requests
    if status in (400, 403, 413) and not request_text.startswith("HEAD") and "websocket" not in request_text:
        body = answer.partition(b"\r\n\r\n")[2].decode()
        assert len(body) < 300 and body.strip().strip('{}"').endswith("."), body


@pytest.mark.parametrize("which", ["ui", "serve"])
def test_what_comes_after_a_refused_request_is_checked_too(served: Served, which: str) -> None:
    """A refused body that is itself a request, and one in the same connection."""
    port, handled = served[which]
    handled.requests.clear()
    foreign = post(JSON, "Origin: http://evil.example").replace("PORT", f"127.0.0.1:{port}")
    answer = sent(port, (foreign * 3).encode(), answers=3)
    assert answer.count(b"HTTP/1.1 403") == 3 and handled.requests == []
    hidden = "\r\n".join(["POST / HTTP/1.1", f"Host: 127.0.0.1:{port}", "Origin: null", JSON])
    inner = post(JSON).replace("PORT", f"127.0.0.1:{port}")
    sent(port, f"{hidden}\r\nContent-Length: {len(inner)}\r\n\r\n{inner}".encode())
    assert handled.requests == []
