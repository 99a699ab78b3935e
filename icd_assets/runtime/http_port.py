"""What a port bears: connections that never ask, headers and bodies that never end, answers that nobody reads.

Gap: uvicorn (0.54) waits for a request as long as a client likes, and so runs out of files; its other parser keeps
headers of any length; nothing bounds a body. ``limit_concurrency`` counts silent connections, so that a few of
them shut out everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive
from uvicorn.protocols.http.h11_impl import H11Protocol

WAITING = 256  # connections without a request at a time; one more ends the oldest
HEADERS = 10.0  # seconds for the head of a request
READING = 10.0  # seconds in which a client takes so much of its answer:
LEAST = 16 << 10  # bytes
UNREAD = 64  # connections whose answer waits for its client at a time; one more ends the oldest
BACKLOG = 128  # connections that the system takes before we do; as many may be taken at once
BODY = 16 * 2**20  # bytes
_TOGETHER = 8 * BODY
_SECONDS = 60.0  # for a whole body

_waiting: WeakKeyDictionary[Any, dict[Port, asyncio.TimerHandle]] = (
    WeakKeyDictionary()
)  # of a server, oldest first
_unread: WeakKeyDictionary[Any, dict[Port, asyncio.TimerHandle]] = WeakKeyDictionary()  # the same


class Port(H11Protocol):
    """One connection of uvicorn's server: ``Config(http=Port, backlog=BACKLOG)``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._count()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._count()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._count()

    def pause_writing(self) -> None:
        """More of an answer is there than its client takes."""
        super().pause_writing()
        self._look_again(_unread.setdefault(self.server_state, {}), self.transport.get_write_buffer_size())

    def _look_again(self, unread: dict[Port, asyncio.TimerHandle], size: int) -> None:
        unread[self] = self.loop.call_later(READING, self._require_read, unread, size)
        if len(unread) > UNREAD:
            next(iter(unread))._end()

    def _require_read(self, unread: dict[Port, asyncio.TimerHandle], before: int) -> None:
        size = self.transport.get_write_buffer_size()
        if before - size < LEAST:
            self._end()
        else:
            del unread[self]  # to the end of the line
            self._look_again(unread, size)

    def resume_writing(self) -> None:
        self._read()
        super().resume_writing()

    def _read(self) -> None:
        timer = _unread.get(self.server_state, {}).pop(self, None)
        if timer is not None:
            timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._read()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        super().handle_websocket_upgrade(event)
        self._leave()

    def _count(self) -> None:
        """After each event: a request is at work, or one is waited for since now or before."""
        at_work = self.cycle is not None and not self.cycle.response_complete
        if at_work or self.transport.is_closing() or self not in self.connections:
            self._leave()
            return
        waiting = _waiting.setdefault(self.server_state, {})
        if self in waiting:
            return
        waiting[self] = self.loop.call_later(HEADERS, self._end)
        if len(waiting) > WAITING:
            next(iter(waiting))._end()

    def _leave(self) -> None:
        timer = _waiting.get(self.server_state, {}).pop(self, None)
        if timer is not None:
            timer.cancel()

    def _end(self) -> None:
        self._leave()
        self._read()
        self.transport.abort()


@dataclass
class Bodies:
    """Bodies of requests that are in memory, counted as they come: a length may be missing, or not be kept to."""

    at_once: int | None = None  # requests that may be at work, None: any number
    _bytes: int = field(default=0, init=False)
    _at_work: int = field(default=0, init=False)

    @asynccontextmanager
    async def counted(self, receive: Receive, length: str | None) -> AsyncIterator[Receive]:
        """``receive`` of one request. ``length``: what its header says, in digits.

        Raises ``HTTPException`` here or where the body is read: 413 of one that is too big, 408 of one that does
        not end, 503 of one too many.
        """
        if int(length or 0) > BODY:
            raise too_big()
        loop = asyncio.get_running_loop()
        end, taken, complete, at_work = loop.time() + _SECONDS, 0, False, False

        async def counted() -> Message:
            nonlocal taken, complete, at_work
            if complete:
                return await receive()  # until the client goes
            try:
                message = await asyncio.wait_for(receive(), max(0.0, end - loop.time()))
            except TimeoutError:
                raise HTTPException(408, f"the body did not come within {_SECONDS:.0f} seconds.") from None
            size = len(message.get("body", b""))
            taken += size
            self._bytes += size
            if taken > BODY:
                raise too_big()
            if self._bytes > _TOGETHER:
                raise HTTPException(503, "too many large requests are at work; send it again later.")
            complete = not message.get("more_body", False)
            if complete and self.at_once is not None:
                if self._at_work >= self.at_once:
                    raise HTTPException(503, f"{self.at_once} requests are at work; send it again later.")
                self._at_work += 1
                at_work = True
            return message

        try:
            yield counted
        finally:
            self._bytes -= taken
            self._at_work -= at_work


def too_big() -> HTTPException:
    return HTTPException(413, f"the body is larger than {BODY // 2**20} MiB; send less at once.")
