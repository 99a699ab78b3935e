"""An ASGI app behind uvicorn on loopback, as ``icd-assets serve`` and ``icd-assets ui`` run theirs."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from icd_assets.runtime.http_port import BACKLOG, Port

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"]


@dataclass
class Handled:
    """An app that answers all that reaches it, and counts."""

    requests: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        async def any_request(request: Request) -> JSONResponse:
            self.requests.append(f"{request.method} {request.url.path}")
            return JSONResponse(len(await request.body()))

        async def websocket(connected: WebSocket) -> None:
            self.requests.append("websocket")
            await connected.accept()
            await connected.close()

        everything = "/{path:path}"
        return Starlette(
            routes=[WebSocketRoute(everything, websocket), Route(everything, any_request, methods=METHODS)]
        )


@contextmanager
def served_app(app: Any) -> Iterator[int]:
    """The port at which it is served, in a thread."""
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listening:
        config = uvicorn.Config(app, http=Port, backlog=BACKLOG, log_level="critical", proxy_headers=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        end = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive() and time.monotonic() < end
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(20)


def sent(port: int, content: bytes, *, answers: int = 1, seconds: float = 10) -> bytes:
    """What is answered to these bytes: so many answers, or fewer if the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(content)
        found = b""
        while _answers(found, content.startswith(b"HEAD")) < answers and (part := connection.recv(65536)):
            found += part
        return found


def _answers(found: bytes, heads: bool) -> int:
    """How many are there to their end."""
    head, ended, rest = found.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    size = int(length[1]) if length is not None and not heads else 0
    return 1 + _answers(rest[size:], heads) if ended and len(rest) >= size else 0
