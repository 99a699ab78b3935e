"""A chat server on loopback whose every reply a test decides: what servers do on bad days, on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from icd_assets.vlm.endpoint import Endpoint
from icd_assets_tests.worlds.loopback import Loopback

Json = dict[str, Any]


@dataclass(frozen=True)
class Answered:
    """A reply; ``body`` of None drops the connection."""

    body: bytes | None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def said(text: str | None, **more: Any) -> Answered:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}
    return as_json({"id": "1", "object": "chat.completion", "choices": [choice]})


def as_json(body: Any, status: int = 200, **headers: str) -> Answered:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answered(json.dumps(body).encode(), status, named)


_NO_PAGE = as_json({"error": {"message": "no such page"}}, 404)


def question(body: Json) -> str:
    """The text that a request ends with."""
    content = body["messages"][-1]["content"]
    return str(content if isinstance(content, str) else content[-1]["text"])


def echo(body: Json, number: int) -> Answered:
    return said(f"{question(body)} indeed")


class FakeServer(Loopback):
    """``reply(body, n)`` answers the n-th chat request, n from 1; ``pages`` are further ones to be read, by path.

    Records bodies, headers, and how many requests were there at once.
    """

    def __init__(
        self,
        reply: Callable[[Json, int], Answered] = echo,
        models: Answered | None = None,
        pages: dict[str, Answered] | None = None,
    ) -> None:
        self.reply = reply
        self.models = models or _NO_PAGE
        self.pages = pages or {}
        self.bodies: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._http = _Http(self)

    def endpoint(self, **fields: Any) -> Endpoint:
        url = f"http://127.0.0.1:{self._http.server_port}/v1"
        return Endpoint(**{"url": url, "model": "m", "server": "vllm", "revision": "1", "retries": 1, **fields})

    def answer(self, path: str, headers: dict[str, str], content: bytes) -> Answered:
        if not content:
            with self._lock:
                self.headers.append(headers)
            return self.models if path.endswith("/models") else self.pages.get(path, _NO_PAGE)
        body = json.loads(content)
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            number = len(self.bodies)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self.reply(body, number)
        finally:
            with self._lock:
                self.at_once -= 1


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def do_POST(self) -> None:
        self._reply(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        self._reply(b"")

    def _reply(self, content: bytes) -> None:
        answered = self.server.fake.answer(
            self.path, {name.lower(): value for name, value in self.headers.items()}, content
        )
        if answered.body is None:
            self.close_connection = True
            return
        self.send_response(answered.status)
        for name, value in {"Content-Type": "application/json", **answered.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answered.body)))
        self.end_headers()
        self.wfile.write(answered.body)

    def log_message(self, *_: object) -> None:
        """Not to the terminal."""


def slowly(seconds: float, reply: Callable[[Json, int], Answered] = echo) -> Callable[[Json, int], Answered]:
    """``reply`` after a fixed latency."""

    def wait(body: Json, number: int) -> Answered:
        time.sleep(seconds)
        return reply(body, number)

    return wait
