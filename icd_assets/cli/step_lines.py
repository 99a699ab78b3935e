"""The steps of a run as they go: on a screen one line that moves, in a log a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from types import TracebackType

from rich.live import Live
from rich.text import Text

from icd_assets.cli.screen import console, is_screen, screen_width, wrapped
from icd_assets.runtime.progress import Listener, Reached, duration, listen

_FRAME_SECONDS = 0.25
_LINE_EVERY_SECONDS = 10.0  # of a step that moves
_LINE_AT_LEAST_SECONDS = 30.0  # of one that does not: it loads a model, or waits


class StepLines(Listener):
    """Draws what a run reports. One line per step as it ends; where it is meanwhile is drawn by a thread, four
    times a second, so it is seen while a step computes and says nothing."""

    def __init__(self, total: int) -> None:
        self._total, self._count = total, 0
        self._asset, self._reason = "", ""
        self._reached: Reached | None = None
        self._waits_since: float | None = None
        self._began = self._moved = self._printed = time.monotonic()
        self._live: Live | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)
        self._problem: OSError | None = None

    def __enter__(self) -> StepLines:
        listen(self)
        if is_screen():
            self._live = Live(
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
            )
            self._live.start()
            console.show_cursor()  # it is never hidden, so it is there however the process ends
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        listen(Listener())
        self._ended.set()
        self._thread.join()
        with suppress(OSError):  # a stdout that cannot be written is main()'s to report
            if self._live is not None:
                self._live.stop()
            if self._asset:
                at = f" at {self._reached}" if self._reached is not None else ""
                seconds = duration(time.monotonic() - self._began)
                console.print(f"{self._place}: stopped after {seconds}{at}", markup=False)

    def started(self, asset: str, reason: str) -> None:
        self._asset, self._reason, self._reached = asset, reason, None
        self._began = self._moved = self._printed = time.monotonic()
        self._waits_since = None
        if self._live is None:
            self._say(f"{self._place}: {reason}")

    def moved(self, asset: str, reached: Reached) -> None:
        if self._problem is not None:
            raise self._problem
        self._reached, self._moved, self._waits_since = reached, time.monotonic(), None

    def noted(self, asset: str, note: str) -> None:
        self._say(f"      {asset}: {note}")
        if note.startswith("waiting"):
            self._waits_since = time.monotonic()

    def ended(self, asset: str, seconds: float) -> None:
        place = f"{self._place}" if self._live is not None else f"      {asset}"
        self._asset, self._count = "", self._count + 1
        self._say(f"{place}: made in {seconds:.1f} s")

    def skipped(self, asset: str) -> None:
        self._count += 1
        self._say(f"[{self._count}/{self._total}] {asset}: unchanged, kept")

    @property
    def _place(self) -> str:
        return f"[{self._count + 1}/{self._total}] {self._asset}"

    def _say(self, text: str) -> None:
        self._printed = time.monotonic()
        self._refresh()  # rich draws its last frame again below what is printed
        console.print(text, markup=False)

    def _draw(self) -> None:
        """In the thread. Where stdout cannot be written any more, the step's next report raises it."""
        try:
            while not self._ended.wait(_FRAME_SECONDS):
                if self._live is not None:
                    self._refresh()
                elif self._due(time.monotonic()):
                    self._say(f"      {self._state(time.monotonic())}")
        except OSError as error:
            self._problem = error

    def _refresh(self) -> None:
        if self._live is not None and (frame := self._frame()) != self._live.get_renderable():
            self._live.update(frame, refresh=True)

    def _due(self, now: float) -> bool:
        silent = now - self._printed
        return silent >= _LINE_AT_LEAST_SECONDS or (silent >= _LINE_EVERY_SECONDS and self._moved > self._printed)

    def _state(self, now: float) -> str:
        if self._waits_since is not None:
            return f"waiting for {duration(now - self._waits_since)}"
        if not self._asset:
            return f"between two steps for {duration(now - self._printed)}"
        if self._reached is None or self._reached.done >= self._reached.total:
            return f"{self._asset}: at work for {duration(now - self._began)}"
        return f"{self._asset}: {self._reached}"

    def _frame(self) -> Text:
        now = time.monotonic()
        if self._waits_since is not None:
            return Text(f"waiting for {duration(now - self._waits_since)}")
        if not self._asset:
            return Text("")
        words = [self._reason if self._reached is None else "at work"]
        if self._reached is not None and (self._reached.done < self._reached.total or now - self._moved < 1):
            words = self._reached.words()
        if self._reached is None or self._reached.left is None:
            words.append(f"for {duration(now - self._began)}")
        # A column is left free: some terminals go to the next row when the last one is written.
        return wrapped(Text("  ".join([self._place, *words])), (screen_width() or 80) - 1)
