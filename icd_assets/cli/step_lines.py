"""The steps of a run as they go: one line each as it ends, and where it is meanwhile."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType

from icd_assets.cli.moving_line import MovingLine
from icd_assets.cli.screen import console
from icd_assets.runtime.progress import Listener, Reached, duration, listen


class StepLines(MovingLine, Listener):
    """Draws what a run reports."""

    def __init__(self, total: int) -> None:
        super().__init__("between two steps")
        self._total, self._count = total, 0
        self._asset, self._reason = "", ""
        self._reached: Reached | None = None
        self._waits_since: float | None = None

    def __enter__(self) -> StepLines:
        listen(self)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        listen(Listener())
        super().__exit__(kind, error, trace)
        if self._asset:
            at = f" at {self._reached}" if self._reached is not None else ""
            with suppress(OSError):
                lasted = duration(time.monotonic() - self._began)
                console.print(f"{self._place}: stopped after {lasted}{at}")

    def started(self, asset: str, reason: str) -> None:
        self._asset, self._reason, self._reached, self._waits_since = asset, reason, None, None
        self._began = self._moved = self._printed = time.monotonic()
        if self._live is None:
            self.say(f"{self._place}: {reason}")

    def moved(self, asset: str, reached: Reached) -> None:
        self.raise_problem()
        self._reached, self._moved, self._waits_since = reached, time.monotonic(), None

    def noted(self, asset: str, note: str) -> None:
        if note.startswith("waiting"):
            self._waits_since = time.monotonic()
        self.say(f"      {asset}: {note}")

    def ended(self, asset: str, seconds: float) -> None:
        place = self._place if self._live is not None else f"      {asset}"
        self._asset, self._count = "", self._count + 1
        self._began = time.monotonic()
        self.say(f"{place}: made in {seconds:.1f} s")

    def skipped(self, asset: str) -> None:
        self._count += 1
        self._began = time.monotonic()
        self.say(f"[{self._count}/{self._total}] {asset}: unchanged, kept")

    def on_screen(self, now: float) -> str:
        if self._waits_since is not None:
            return f"waiting for {duration(now - self._waits_since)}"
        if not self._asset:
            return super().on_screen(now)
        words = [self._reason if self._reached is None else "at work"]
        if self._reached is not None and (self._reached.done < self._reached.total or now - self._moved < 1):
            words = self._reached.words()
        if self._reached is None or self._reached.left is None:
            words.append(f"for {duration(now - self._began)}")
        return "  ".join([self._place, *words])

    def in_log(self, now: float) -> str:
        if self._waits_since is not None:
            return f"      waiting for {duration(now - self._waits_since)}"
        if not self._asset:
            return super().in_log(now)
        if self._reached is None or self._reached.done >= self._reached.total:
            return f"      {self._asset}: at work for {duration(now - self._began)}"
        return f"      {self._asset}: {self._reached}"

    @property
    def _place(self) -> str:
        return f"[{self._count + 1}/{self._total}] {self._asset}"
