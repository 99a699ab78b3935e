"""What a request must be before its body is read: not of a foreign page, not without the token, not too big.

A page in the user's browser can send requests to loopback. The browser then says where they come from, in Origin
and Sec-Fetch-Site; the Host header, which Starlette's middleware checks, is that of another name if an attacker's
DNS server answered with 127.0.0.1.
"""

from __future__ import annotations

import secrets

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY = 16 * 2**20  # bytes


class Guard:
    """An ASGI middleware."""

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(Headers(scope=scope))
        except HTTPException as error:
            answer = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
            await answer(scope, receive, send)
            return
        await self._app(scope, _counted(receive), send)

    def _check(self, headers: Headers) -> None:
        if _of_another_site(headers):
            raise HTTPException(403, "requests of another site's page are not answered.")
        if self._token is not None and not _knows(headers.get("authorization", ""), self._token):
            raise HTTPException(
                401,
                "the token is missing or wrong; send Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        if not (length.isdecimal() and len(length) < 20):
            raise HTTPException(400, "the header content-length is no number of bytes.")
        if int(length) > BODY:
            raise _too_big()


def _of_another_site(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is not None and origin.lower().partition("://")[2] != headers.get("host", "").lower():
        return True
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _knows(authorization: str, token: str) -> bool:
    return secrets.compare_digest(authorization.encode(), f"Bearer {token}".encode())


def _counted(receive: Receive) -> Receive:
    """A body without a length, which comes in pieces, is counted as it comes."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY:
            raise _too_big()
        return message

    return counted


def _too_big() -> HTTPException:
    return HTTPException(413, f"the body is larger than {BODY // 2**20} MiB; send smaller pictures, or vectors.")
