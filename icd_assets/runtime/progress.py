"""How far a long step is: libraries call ``on_progress(done, total)``; a log and the command line listen."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

OnProgress = Callable[[int, int], None]

_LOG_EVERY_SECONDS = 10.0
_WINDOW_SECONDS = 30.0
_UNITS_AT_LEAST, _SECONDS_AT_LEAST = 2, 3.0


def ignore(done: int, total: int) -> None:
    """The listener of those who do not listen."""


def counting(on_progress: OnProgress, unit: str, total: int = 0, detail: str = "") -> OnProgress:
    """``on_progress``, for a part of the work that counts ``unit`` (a plural); ``detail`` goes with the numbers.

    >>> report = counting(on_progress, "questions")
    >>> report(128, 300)

    ``total``, if it is known before the first report, is for what reports :func:`within` the first units.
    """
    return _Part(on_progress, unit, total, detail) if isinstance(on_progress, Progress) else on_progress


def within(on_progress: OnProgress, size: int, unit: str) -> OnProgress:
    """For what ``size`` units, the next ones that ``on_progress`` counts, are made of: ``unit`` (a plural).

    The one count becomes a detail of the other, and of its pace: a chunk of 64 questions may take minutes.
    """
    if not isinstance(on_progress, _Part):
        return ignore
    return lambda done, total: on_progress.inside(size * done / total, f"{done}/{total} {unit}")


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a part of a step is. ``rate`` is in units per second; None, as ``left``, while it is not known."""

    done: int
    total: int
    unit: str = ""
    detail: str = ""
    rate: float | None = None
    left: float | None = None  # seconds

    def words(self) -> list[str]:
        """``128/300 questions``, ``loss 1.92``, ``4.1/s``, ``42 s left``: what is known of it."""
        words = [f"{self.done}/{self.total} {self.unit}".strip(), self.detail]
        if self.rate is not None:
            words.append(f"{self.rate:.1f}/s" if self.rate >= 1 else f"{1 / self.rate:.1f} s each")
        if self.left is not None:
            words.append(f"{duration(self.left)} left")
        return [word for word in words if word]

    def __str__(self) -> str:
        return ", ".join(self.words())


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 5 s``, ``1 h 20 min``"""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes} min {rest} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Pace:
    """Units per second over the last half minute.

    Measured from the first report on: what came before it (a model that loads, kernels that compile) is no unit's
    time. Not known before two units and three seconds: one batch says nothing about hundreds.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def add(self, now: float, done: float) -> None:
        self._seen.append((now, done))
        while len(self._seen) > 3 and now - self._seen[1][0] >= _WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def rate(self) -> float | None:
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        if last - first < _UNITS_AT_LEAST or now - began < _SECONDS_AT_LEAST:
            return None
        return (last - first) / (now - began)


class Listener:
    """What a process that runs assets may need to know; the command line draws it."""

    def started(self, asset: str, reason: str) -> None:
        """``asset`` is being made, because of ``reason``."""

    def moved(self, asset: str, reached: Reached) -> None:
        """The part of ``asset`` at work has got so far."""

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
        self._logged = time.monotonic()
        self._part: tuple[int, str] | None = None
        self._pace = Pace()

    def __call__(self, done: int, total: int) -> None:
        self.report(done, total)

    def report(self, done: int, total: int, unit: str = "", detail: str = "", begun: float = 0) -> None:
        """``done`` of ``total`` ``unit``, and ``begun`` more in part. Another total, or unit, is another part of
        the work, with a pace of its own."""
        now = time.monotonic()
        if self._part != (total, unit):
            self._part, self._pace = (total, unit), Pace()
        self._pace.add(now, done + begun)
        rate = self._pace.rate
        reached = Reached(done, total, unit, detail, rate, (total - done - begun) / rate if rate else None)
        current.moved(self._asset, reached)
        if now - self._logged >= _LOG_EVERY_SECONDS:
            self._logged = now
            self._log(f"{self._asset}: {reached}")


class _Part:
    """What a part of the work reports to."""

    def __init__(self, progress: Progress, unit: str, total: int, detail: str) -> None:
        self._progress, self._unit, self._detail = progress, unit, detail
        self._done, self._total = 0, total

    def __call__(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._progress.report(done, total, self._unit, self._detail)

    def inside(self, begun: float, detail: str) -> None:
        if self._total:
            self._progress.report(self._done, self._total, self._unit, detail, begun)
