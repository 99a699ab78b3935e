"""What is at work now: on a screen a line that moves, in a log a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.text import Text

from icd_assets.cli.screen import console, is_screen, screen_width, wrapped
from icd_assets.runtime.progress import duration

_FRAME_SECONDS = 0.25
_LINE_EVERY_SECONDS = 10.0  # of what moves
_LINE_AT_LEAST_SECONDS = 30.0  # of what does not: it loads a model, or waits


class MovingLine:
    """Drawn by a thread, up to four times a second: it is seen while the work computes and says nothing.

    >>> with MovingLine("reading what is there"):
    ...     work()
    """

    def __init__(self, work: str = "") -> None:
        self.work = work
        self._began = self._moved = self._printed = time.monotonic()
        self._problem: OSError | None = None
        self._live: Live | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="moving line", daemon=True)

    def __enter__(self) -> Self:
        if is_screen():
            self._live = Live(
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
            )
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._live is not None:
            with suppress(OSError):  # a stdout that cannot be written is main()'s to report
                self._live.stop()

    def on_screen(self, now: float) -> str:
        """The line as it moves, nothing at all while there is nothing to see."""
        return f"{self.work} for {duration(now - self._began)}" if now - self._began >= 1 else ""

    def in_log(self, now: float) -> str:
        """The line that a log gets now and then."""
        return f"{self.work} for {duration(now - self._began)}"

    def say(self, text: str) -> None:
        """A line that stays."""
        self._printed = time.monotonic()
        self._refresh()  # rich draws its last frame again below what is printed
        console.print(text)

    def raise_problem(self) -> None:
        """Of the thread: where stdout cannot be written any more, the work ends."""
        if self._problem is not None:
            raise self._problem

    def _draw(self) -> None:
        try:
            while not self._ended.wait(_FRAME_SECONDS):
                if self._live is not None:
                    self._refresh()
                elif self._due(now := time.monotonic()):
                    self.say(self.in_log(now))
        except OSError as error:
            self._problem = error

    def _due(self, now: float) -> bool:
        silent = now - self._printed
        return silent >= _LINE_AT_LEAST_SECONDS or (silent >= _LINE_EVERY_SECONDS and self._moved > self._printed)

    def _refresh(self) -> None:
        if self._live is None:
            return
        # A column is left free: some terminals go to the next row when the last one is written.
        frame = wrapped(Text(self.on_screen(time.monotonic())), (screen_width() or 80) - 1)
        if frame != self._live.get_renderable():
            self._live.update(frame, refresh=True)
