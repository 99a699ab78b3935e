"""Many prompts at one server or at several that hold the same model: who is asked next, and how hard.

- Prompts that begin alike go to the same server, one after the other, so that its prefix cache holds what it
  computed for the first of them.
- A server that pushes back (HTTP 429 or 503) gets half as many prompts at once; each round of answers without
  adds one, up to the endpoint's ``concurrency`` (additive increase, multiplicative decrease: Chiu and Jain 1989).
- A server that cannot be used after all its tries is left out for half a minute, then for twice as long (a
  circuit breaker), and its prompts go to the others. If none is left the run ends; what was answered is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_client import EndpointClient, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LARGEST_GROUP = 16  # a server that has begun a group ends it while others may have nothing left to do
_PAUSE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 600.0

Result = TypeVar("Result")
Task = Callable[[EndpointClient, int], Awaitable[Result]]

_log = logging.getLogger(__name__)


async def ask_all(
    endpoint: Endpoint,
    groups: Iterable[Sequence[int]],
    ask: Task[Result],
    hand_over: Callable[[Mapping[int, Result]], None],
) -> None:
    """``ask`` for every index of ``groups``, whose prompts begin alike; the first failure that is not a server's
    ends the others."""
    work = _Work(groups)
    async with AsyncExitStack() as clients:
        servers = [
            _Server(await clients.enter_async_context(EndpointClient(endpoint.at(url))), endpoint.concurrency)
            for url in endpoint.urls
        ]

        async def serve(server: _Server) -> None:
            while (index := await work.take(server)) is not None:
                try:
                    async with server.slot():
                        found = await ask(server.client, index)
                except Unavailable as error:
                    work.give_back(server, index)
                    await _leave_out(server, servers, work, error)
                    continue
                server.answered()
                hand_over({index: found})
                work.end_one()

        async with asyncio.TaskGroup() as tasks:
            for server in servers:
                for _ in range(min(endpoint.concurrency, work.open)):
                    tasks.create_task(serve(server))


async def _leave_out(server: _Server, servers: Sequence[_Server], work: _Work, error: Unavailable) -> None:
    """Wait until the server may be tried again, or nothing is left to ask. Raises ``error`` if no other can be."""
    if not server.out:
        server.out = True
        if all(other.out for other in servers):
            raise error
        _log.warning("%s Left out for %.0f s; the other servers go on.", error, server.pause)
        server.back = asyncio.get_running_loop().time() + server.pause
        server.pause = min(2 * server.pause, _LONGEST_PAUSE_SECONDS)
    await work.ended_within(server.back - asyncio.get_running_loop().time())
    server.out = False


class _Server:
    """One address, and how much it is asked at once."""

    def __init__(self, client: EndpointClient, most: int) -> None:
        self.client = client
        self.out = False
        self.back = 0.0
        self.pause = _PAUSE_SECONDS
        self._most = self._limit = most
        self._at_once = self._ended = self._pushed_back = 0
        self._cut_again_after = self._grow_at = 0
        self._free = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        async with self._free:
            await self._free.wait_for(lambda: self._at_once < self._limit)
            self._at_once += 1
        try:
            yield
        finally:
            self._at_once -= 1
            self._adapt()
            async with self._free:
                self._free.notify_all()

    def answered(self) -> None:
        self.pause = _PAUSE_SECONDS

    def _adapt(self) -> None:
        """After each answer. It is halved once for all that were under way together."""
        self._ended += 1
        pushed, self._pushed_back = self.client.pushed_back > self._pushed_back, self.client.pushed_back
        if pushed and self._ended > self._cut_again_after:
            self._limit = max(1, self._limit // 2)
            self._cut_again_after = self._ended + self._at_once
            self._grow_at = self._cut_again_after + self._limit
        elif not pushed and self._ended >= self._grow_at:
            self._limit = min(self._most, self._limit + 1)
            self._grow_at = self._ended + self._limit


class _Work:
    """What is to be asked: groups that nobody has begun, and what is left of the one that each server is at."""

    def __init__(self, groups: Iterable[Sequence[int]]) -> None:
        parts = (
            group[at : at + _LARGEST_GROUP] for group in groups for at in range(0, len(group), _LARGEST_GROUP)
        )
        self._groups = deque(deque(part) for part in parts)
        self._begun: dict[_Server, deque[int]] = {}
        self.open = sum(map(len, self._groups))
        self._changed = asyncio.Event()

    async def take(self, server: _Server) -> int | None:
        """The next index for ``server``; None when every one is answered."""
        while self.open:
            own = self._begun.get(server)
            if not own and self._groups:
                own = self._begun[server] = self._groups.popleft()
            if own:
                return own.popleft()
            self._changed.clear()  # somebody is at the last ones, and may give them back
            await self._changed.wait()
        return None

    def end_one(self) -> None:
        self.open -= 1
        if not self.open:
            self._changed.set()

    def give_back(self, server: _Server, index: int) -> None:
        """To whoever is free: this one, and the rest of the server's group."""
        self._groups.appendleft(deque([index, *self._begun.pop(server, ())]))
        self._changed.set()

    async def ended_within(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while self.open:
                    self._changed.clear()
                    await self._changed.wait()
