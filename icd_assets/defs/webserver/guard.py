"""What a request must be before Dagster's app is asked: sent by a page of ours, or by a program on purpose.

What a page cannot choose is in :mod:`~icd_assets.runtime.http_callers`. Content-Type is a fourth: a form,
or a script that asks nobody, cannot send ``application/json``. So an order is a JSON post, and a GET asks GraphQL
nothing. A user may come from another site's link, to look.
"""

from __future__ import annotations

import hashlib
import secrets
from html import escape
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from icd_assets.defs.webserver.access import BEHIND_PROXY, TOKEN, Access
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.http_callers import FOREIGN, is_loopback, names_this, of_another_site, unclear
from icd_assets.runtime.http_port import Bodies

COOKIE = "icd_ui"


class Guard:
    """An ASGI middleware, in front of pages, GraphQL and websockets alike."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access
        self._bodies = Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif (answer := self._answer(scope)) is not None:
            # A websocket is closed before it is accepted: the browser sees a 403.
            await (answer if scope["type"] == "http" else WebSocketClose(1008))(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._bounded(scope, receive, _unframed(send))

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._bodies.counted(receive, Headers(scope=scope).get("content-length")) as counted:
                await self._app(scope, counted, send)
        except HTTPException as error:
            await _sentence(error.detail, error.status_code)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        """What is answered in the place of Dagster's app; None if the request may pass."""
        if (why := refused(scope, self._access)) is not None:
            return _sentence(why, 403)
        if self._access.token is None:
            return None
        return _admitted(HTTPConnection(scope), self._access.token)


def refused(scope: Scope, access: Access) -> str | None:
    """Why a request is not answered, whoever sends it; None if there is no reason."""
    if (why := unclear(scope)) is not None:
        return why
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if not names_this(host, access.names):
        return f"this server is not called {brief(host)}; if it should be, start it with --allow-host."
    if of_another_site(scope) and not _is_a_visit(scope, headers):
        return FOREIGN
    if not (access.token or access.behind_proxy or _by_loopback(scope)):
        return f"other machines are not answered; set {TOKEN}, or {BEHIND_PROXY}=1 behind a login proxy."
    return None if scope["type"] == "websocket" else _no_order(scope, headers)


def _is_a_visit(scope: Scope, headers: Headers) -> bool:
    """Whether a user follows a link: the page that has the link sees nothing of what is answered."""
    fetched = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"), headers.get("origin"))
    return scope["type"] == "http" and scope["method"] == "GET" and fetched == ("navigate", "document", None)


def _by_loopback(scope: Scope) -> bool:
    server = scope.get("server")
    return server is not None and is_loopback(server[0])


def _no_order(scope: Scope, headers: Headers) -> str | None:
    """Orders are JSON posts; of GraphQL a GET shows the page in which one types."""
    if scope["method"] in ("GET", "HEAD"):
        if not scope["path"].rstrip("/").endswith("/graphql"):
            return None
        page = "text/html" in headers.get("accept", "") and "query" not in QueryParams(scope["query_string"])
        return None if page else "GraphQL is asked by a POST of JSON."
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return None if kind == "application/json" else "only JSON may be posted; send Content-Type: application/json."


def _admitted(sent: HTTPConnection, token: str) -> Response | None:
    """None where the token is known, by a cookie or by a header; its first visit gets the cookie."""
    scheme, _, given = sent.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _same(given, token):
        return None
    if _same(sent.cookies.get(COOKIE, ""), _cookie(token)):
        return None
    if sent.scope["type"] == "http" and _same(sent.query_params.get("token", ""), token):
        return _welcome(sent, token)
    missing = (
        "the token is missing or wrong; open this address with ?token=TOKEN once, or send it as a bearer token."
    )
    return _sentence(missing, 401, {"WWW-Authenticate": "Bearer"})


def _welcome(sent: HTTPConnection, token: str) -> Response:
    """A page that goes on to the same address without the token.

    No redirect: after one, a browser that came by another site's link would not send a strict cookie.
    """
    rest = [(name, value) for name, value in sent.query_params.multi_items() if name != "token"]
    path = "/" + quote(sent.scope["path"].lstrip("/\\"))  # "//name" would lead to another server
    target = f"{path}?{urlencode(rest)}" if rest else path
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(target)}"><title>icd_assets</title>'
    headers = {"Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer"}
    answer = HTMLResponse(page, headers=headers | {"Cache-Control": "no-store"})
    secure = sent.scope["scheme"] == "https"
    answer.set_cookie(COOKIE, _cookie(token), httponly=True, samesite="strict", secure=secure)
    return answer


def _cookie(token: str) -> str:
    """Not the token itself: a browser sends its cookies to every port of a machine."""
    return hashlib.sha256(f"{COOKIE}:{token}".encode()).hexdigest()


def _same(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), known.encode())


def _sentence(text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, {"X-Content-Type-Options": "nosniff", **(headers or {})})


def _unframed(send: Send) -> Send:
    """No other site may lay a frame of the UI under a user's click."""

    async def framed_by_us(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Frame-Options", "SAMEORIGIN")
        await send(message)

    return framed_by_us
