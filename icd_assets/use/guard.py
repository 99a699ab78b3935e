"""What a request must be before its body is read: not of a foreign page, not without the token, not too big.

What a foreign page is, :mod:`~icd_assets.runtime.http_callers` says, for every port alike.
"""

from __future__ import annotations

import secrets
from collections.abc import Container

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from icd_assets.runtime.foreign import brief
from icd_assets.runtime.http_callers import FOREIGN, names_this, of_another_site, unclear
from icd_assets.runtime.http_port import Bodies

AT_ONCE = 32  # requests whose bodies are in memory


class Guard:
    """An ASGI middleware. names: what the server is called besides loopback's; None: anything, with a token."""

    def __init__(self, app: ASGIApp, *, names: Container[str] | None, token: str | None) -> None:
        self._app = app
        self._names = names
        self._token = token
        self._bodies = Bodies(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is no websocket here
            await WebSocketClose(1008)(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
            async with self._bodies.counted(receive, headers.get("content-length")) as counted:
                await self._app(scope, counted, send)
        except HTTPException as error:
            answer = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
            await answer(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        if (why := unclear(scope)) is not None:
            raise HTTPException(400, why)
        host = headers.get("host", "")
        if self._names is not None and not names_this(host, self._names):
            raise HTTPException(400, f"this server is not called {brief(host)}; send its address as Host.")
        if of_another_site(scope):
            raise HTTPException(403, FOREIGN)
        if self._token is not None and not _knows(headers.get("authorization", ""), self._token):
            raise HTTPException(
                401,
                "the token is missing or wrong; send Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": "Bearer"},
            )


def _knows(authorization: str, token: str) -> bool:
    return secrets.compare_digest(authorization.encode(), f"Bearer {token}".encode())
