"""Requests to an OpenAI-compatible server: bounded in time, number and size; every failure is one sentence.

Retries are the openai package's: connection errors, timeouts, 408, 409, 429 and 5xx; after the pause that
``Retry-After`` asks for (up to two minutes), else after one that doubles from half a second to eight, with
jitter. The key is sent to the server and to nobody else: not to messages, which servers fill as they like.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, assert_never

import openai
from pydantic import BaseModel, Field, ValidationError

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import harmless
from icd_assets.runtime.secrets import redacted
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_engine import Engine

_LARGEST_BYTES = 32 << 20  # a prompt's log-probabilities are about a hundred bytes per token
_LARGEST_PAGE_BYTES = 1 << 20  # of what a server says of itself: a few kilobytes
PAGE_SECONDS = 10.0  # SGLang asks its scheduler, which may be at work
_LONGEST_REASON = 300
_READ_OF_REASON = 1 << 16  # characters
_LONGEST_KEY = 1 << 13  # characters, in any code
# The openai package reads these from the environment; they are no business of another company's server.
_UNSENT = ("OpenAI-Organization", "OpenAI-Project")


_ABOUT_A_PROMPT = (400, 413, 422)
_PUSHES_BACK = (429, 503)
_CHARACTERS_PER_TOKEN = 200  # more than any tokenizer's longest


class Answered(UserError):
    """The server is there, and answered with an error of its own rather than one about the key."""


class Unavailable(UserError):
    """The server cannot be used now, whatever it is asked: silent, away, overloaded or broken after all tries."""


class Overloaded(Answered, Unavailable):
    """It is there, and says so."""


class PromptRefused(Answered):
    """The server did not take this one prompt; it may take others."""


class Logprob(BaseModel):
    """Of one token of the prompt."""

    logprob: float = Field(le=0, allow_inf_nan=False)


class Message(BaseModel):
    content: str | None = None


class Choice(BaseModel):
    message: Message
    finish_reason: str | None = None


class Reply(BaseModel):
    """What we read of a chat completion; the last two are vLLM's."""

    choices: list[Choice] = Field(min_length=1)
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: list[dict[int, Logprob] | None] | None = None


class Served(BaseModel):
    """An entry of /v1/models; ``root`` is what vLLM and SGLang loaded under the name ``id``."""

    id: str
    root: str | None = None


class _Models(BaseModel):
    data: list[Served]


Read = TypeVar("Read", Reply, _Models)


class EndpointClient:
    """A connection to the server, for use in one event loop.

    >>> async with EndpointClient(endpoint) as client:
    ...     reply = await client.chat(messages, {"max_tokens": 5})
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.pushed_back = 0
        """How often the server asked for fewer requests, or for patience."""
        self._endpoint = endpoint
        self._key = _key(endpoint)
        self._openai = openai.AsyncOpenAI(
            base_url=endpoint.url,
            api_key=self._key or "none",  # else the package takes OPENAI_API_KEY, which is for OpenAI alone
            timeout=endpoint.timeout_seconds,
            max_retries=endpoint.retries,
            http_client=_BoundedHttp(self._saw, follow_redirects=False),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._openai.close()

    @property
    def url(self) -> str:
        return self._endpoint.url

    async def chat(self, messages: list[dict[str, Any]], fields: dict[str, Any]) -> Reply:
        """One chat completion; ``fields`` are the request's others. Raises ``UserError`` when all tries failed."""
        create: Any = self._openai.chat.completions.with_raw_response.create
        body = {**fields, **self._endpoint.extra_body}
        try:
            raw = await self._in_time(create(model=self._endpoint.model, messages=messages, extra_body=body))
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        return self._read(Reply, raw)

    async def answer(self, messages: list[dict[str, Any]], fields: dict[str, Any]) -> str:
        """The text of the first choice, the best of beams. Servers write null for one that ended at once."""
        choice = (await self.chat(messages, fields)).choices[0]
        text, bound = choice.message.content or "", _longest_answer(fields)
        text = text if self._key is None or len(text) > bound else redacted(text, [self._key], {})
        if len(text) > bound:
            raise self._failed(
                f"wrote {len(text):,} characters where max_tokens {fields.get('max_tokens')} was asked for, so it "
                "ignores max_tokens; look at the server, or fix extra_body"
            )
        if choice.message.content is None and choice.finish_reason != "stop":
            why = self._shown(str(choice.finish_reason))[:60]
            raise self._failed(
                f"gave no text (finish_reason {why}), as models do that think first; "
                "switch thinking off with extra_body, or raise max_new_tokens"
            )
        return text

    async def served(self) -> Served | None:
        """What the server says of the model at /v1/models; None if it says nothing."""
        try:
            raw = await self._in_time(self._openai.models.with_raw_response.list())
        except openai.APIStatusError as error:
            if error.status_code in (404, 405, 501):
                return None
            raise self._refused(error) from None
        named = [model for model in self._read(_Models, raw).data if model.id == self._endpoint.model]
        if not named:
            return None
        root = named[0].root
        return Served(id=named[0].id, root=None if root is None else self._shown(root))

    async def engine(self) -> Engine:
        """What the server says of itself; nothing, if it answers anything else. Raises :class:`Unavailable` if
        nobody is there."""
        match self._endpoint.server:
            case "vllm":
                pages = ["version"]
            case "sglang":
                pages = ["server_info", "get_server_info"]
            case "openai":
                pages = []
            case "transformers":  # lists what lies in the hub's cache
                return Engine()
            case other:
                assert_never(other)
        listing = (await self._page(f"{self._endpoint.url}/models")).get("data")
        entries = [entry for entry in listing if isinstance(entry, dict)] if isinstance(listing, list) else []
        listed = next((entry for entry in entries if entry.get("id") == self._endpoint.model), {})
        found: dict[str, Any] = {}
        root = self._endpoint.url.removesuffix("/v1")
        for page in pages if root != self._endpoint.url else []:
            found = found or await self._page(f"{root}/{page}")
        return Engine.of(self._endpoint, listed, found)

    async def _page(self, url: str) -> dict[str, Any]:
        """A JSON object that the server is not obliged to have; empty if it has none."""
        try:
            content = await self._content(url)
            found = json.loads(content) if len(content) <= _LARGEST_PAGE_BYTES else None
        except (openai.APIStatusError, TimeoutError, ValueError, RecursionError):
            return {}
        except Unavailable:
            raise
        except UserError:  # too large, or compressed: _BoundedHttp
            return {}
        return found if isinstance(found, dict) else {}

    async def _content(self, url: str) -> bytes:
        """Once, and in a short time; of a server that cannot be reached, as often as a prompt is tried."""
        once = self._openai.with_options(max_retries=0, timeout=PAGE_SECONDS)
        try:
            async with asyncio.timeout(2 * PAGE_SECONDS):
                return await once.get(url, cast_to=bytes)
        except openai.APIConnectionError as error:
            if not type(error.__cause__).__name__.startswith(
                "Connect"
            ):  # httpx's; there are two generations of it
                raise TimeoutError from None
        found: bytes = await self._in_time(self._openai.get(url, cast_to=bytes))
        return found

    def _saw(self, status: int) -> None:
        self.pushed_back += status in _PUSHES_BACK

    async def _in_time(self, request: Awaitable[Any]) -> Any:
        endpoint = self._endpoint
        try:
            async with asyncio.timeout(endpoint.give_up_seconds):
                return await request
        except openai.APITimeoutError:
            raise self._failed(
                f"was silent for {endpoint.timeout_seconds:g} s in each of {endpoint.retries + 1} tries; "
                "look at the server, or raise timeout_seconds",
                Unavailable,
            ) from None
        except openai.APIConnectionError as error:
            raise self._failed(
                f"cannot be reached ({self._shown(str(error.__cause__))}); start the server or fix the url",
                Unavailable,
            ) from None
        except TimeoutError:
            raise self._failed(
                f"gave no answer in {endpoint.give_up_seconds:g} s; look at the server, or raise give_up_seconds",
                Unavailable,
            ) from None

    def _read(self, kind: type[Read], raw: Any) -> Read:
        try:
            return kind.model_validate_json(raw.http_response.content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            what = self._shown(f"{where + ': ' if where else ''}{first['msg']}")
            if raw.http_response.content.lstrip().startswith(b"<"):
                what = "a web page, as a login or a proxy sends it"
            raise self._failed(
                f"did not answer as a chat server does ({what}); fix the url, or look at the server"
            ) from None

    def _refused(self, error: openai.APIStatusError) -> UserError:
        """:class:`PromptRefused` for a status that is about the one prompt."""
        endpoint, status = self._endpoint, error.status_code
        kind: type[UserError] = Answered
        if status in (401, 403):
            kind = UserError
            advice = f"fix the key in {endpoint.api_key_env}" if endpoint.api_key_env else "name api_key_env"
        elif status in (408, 409, 429) or status >= 500:
            kind = Overloaded
            advice = "look at the server, or lower concurrency"
        elif status in _ABOUT_A_PROMPT:
            kind = PromptRefused
            advice = "leave that question or picture out, set skip_refused of the endpoint, or fix its generation"
        else:
            advice = "fix the model's endpoint, or its generation"
        return self._failed(f"answered {status} ({self._shown(_reason(error))}); {advice}", kind)

    def _failed(self, sentence: str, kind: type[UserError] = UserError) -> UserError:
        return kind(f"{self._endpoint.url} (model {self._endpoint.model}) {sentence}.")

    def _shown(self, reason: str) -> str:
        """A server's words in one short line, without the key that some repeat, in whatever code."""
        shown = redacted(reason[:_READ_OF_REASON], [self._key] if self._key else [])
        if len(reason) > _READ_OF_REASON:
            shown = shown[:-_LONGEST_KEY]  # it may end in the middle of the key
        return harmless(" ".join(shown.split()))[:_LONGEST_REASON].rstrip(".")


class _BoundedHttp(openai.DefaultAsyncHttpxClient):
    """Reads a reply as a whole, up to a size that no honest one reaches; ``saw`` is called with each status."""

    def __init__(self, saw: Callable[[int], None], **options: Any) -> None:
        super().__init__(**options)
        self._saw = saw

    async def send(self, request: Any, **options: Any) -> Any:
        for name in _UNSENT:
            request.headers.pop(name, None)
        request.headers["Accept-Encoding"] = "identity"  # a small compressed reply may be a huge one
        response = await super().send(request, **{**options, "stream": True})
        self._saw(response.status_code)
        try:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise UserError(f"{request.url} compresses its replies unasked; switch that off at the server.")
            content = bytearray()
            async for part in response.aiter_raw():
                content += part
                if len(content) > _LARGEST_BYTES:
                    raise UserError(
                        f"{request.url} sent a reply of more than {_LARGEST_BYTES >> 20} MiB; "
                        "look at the server, or fix the url."
                    )
        finally:
            await response.aclose()
        return type(response)(
            response.status_code, headers=response.headers, content=bytes(content), request=request
        )


def _longest_answer(fields: dict[str, Any]) -> int:
    """Characters that the tokens asked for can be."""
    return 1000 + _CHARACTERS_PER_TOKEN * int(fields.get("max_tokens", 0))


def _key(endpoint: Endpoint) -> str | None:
    if endpoint.api_key_env is None:
        return None
    if not (key := os.environ.get(endpoint.api_key_env, "").strip()):
        raise UserError(
            f"the environment variable {endpoint.api_key_env} holds no key for {endpoint.url}; set it, or fix "
            "api_key_env in the catalog."
        )
    if not re.fullmatch(r"[!-~]{1,4096}", key):  # an HTTP library would say so, and show it
        raise UserError(
            f"the environment variable {endpoint.api_key_env} holds no key: {len(key):,} characters, of which "
            "some are blank, no ASCII, or no character at all; set it again."
        )
    return key


def _reason(error: openai.APIStatusError) -> str:
    """What a server says, of the forms in use: error.message, error, detail, message."""
    body = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body.get("error")
    return str(body or error.response.text or error.response.reason_phrase)
