"""How far a long step is: libraries call ``on_progress(done, total)``; a log and the command line listen."""

from __future__ import annotations

import time
from collections.abc import Callable

OnProgress = Callable[[int, int], None]

_LOG_EVERY_SECONDS = 10.0


def ignore(done: int, total: int) -> None:
    """The listener of those who do not listen."""


class Listener:
    """What a process that runs assets may need to know; the command line draws it."""

    def started(self, asset: str, reason: str) -> None:
        """``asset`` is being made, because of ``reason``."""

    def moved(self, asset: str, done: int, total: int, left: float | None) -> None:
        """``done`` of ``total`` units of the asset's long part are done, and about ``left`` seconds remain; None
        while its pace is not known."""

    def noted(self, asset: str, note: str) -> None:
        """Something about ``asset`` that matters to a person who waits."""

    def ended(self, asset: str, seconds: float) -> None:
        """``asset`` is complete."""

    def skipped(self, asset: str) -> None:
        """``asset`` was up to date already."""


# One listener for the process: assets run deep inside Dagster, where nothing can be handed to them.
current = Listener()


def listen(listener: Listener) -> None:
    global current
    current = listener


class Progress:
    """Progress of one asset, to the process's listener and, every ten seconds, to the run's log."""

    def __init__(self, asset: str, log: Callable[[str], None]) -> None:
        self._asset, self._log = asset, log
        self._began = self._logged = time.monotonic()
        self._total = self._done_before = 0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if total != self._total:  # another part of the asset's work, with a pace of its own
            if self._total:
                self._began, self._done_before = now, done
            self._total = total
        paced = done - self._done_before
        left = (now - self._began) / paced * (total - done) if paced > 0 else None
        current.moved(self._asset, done, total, left)
        if now - self._logged >= _LOG_EVERY_SECONDS:
            self._logged = now
            self._log(f"{self._asset}: {described(done, total, left)}")


def described(done: int, total: int, left: float | None) -> str:
    """``128/300, about 32 s left``"""
    return f"{done}/{total}" + ("" if left is None else f", about {left:.0f} s left")
