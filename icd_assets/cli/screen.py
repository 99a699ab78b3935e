"""What the command line shows: the plan, progress while assets run, the closing summary."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from icd_assets.experiment.plan import Plan
from icd_assets.runtime.progress import Listener, described, listen

# A log has no width of its own, and a reason cut into columns cannot be searched.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def show_plan(plan: Plan) -> None:
    table = Table("asset", "state", "why", box=None, pad_edge=False, header_style="bold")
    for item in plan.steps:
        present = "adopted" if item.origin == "adopted" else "present"
        state = present if item.reason is None else "missing" if item.reason == "missing" else "stale"
        table.add_row(item.step.name, state, "" if item.reason in (None, "missing") else item.reason)
    console.print(table)


class Screen(Listener):
    """One line per asset as it ends; for the one at work a bar on a terminal, a line now and then in a log."""

    def __init__(self, total: int) -> None:
        self._total, self._count = total, 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._printed = 0.0

    def __enter__(self) -> Screen:
        listen(self)
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("  {task.description:<22}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        listen(Listener())
        if self._bar is not None:
            self._bar.stop()

    def started(self, asset: str, reason: str) -> None:
        self._printed = time.monotonic()
        console.print(f"[{self._count + 1}/{self._total}] {asset}: {reason}", markup=False)
        if self._bar is not None:
            self._task = self._bar.add_task(asset, total=None)

    def moved(self, asset: str, done: int, total: int, left: float | None) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)
            return
        now = time.monotonic()
        if now - self._printed >= 10:
            self._printed = now
            console.print(f"      {asset}: {described(done, total, left)}", markup=False)

    def noted(self, asset: str, note: str) -> None:
        console.print(f"      {asset}: {note}", markup=False)

    def ended(self, asset: str, seconds: float) -> None:
        self._count += 1
        self._drop_bar()
        console.print(f"      {asset}: made in {seconds:.1f} s", markup=False)

    def skipped(self, asset: str) -> None:
        self._count += 1
        console.print(f"[{self._count}/{self._total}] {asset}: unchanged, kept", markup=False)

    def _drop_bar(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
