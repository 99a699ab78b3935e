"""How words and tables are shown: whole in a log, and on a screen at its width, with no name ever cut."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from icd_assets.experiment.plan import Plan

_PROSE_COLUMNS = 24  # a narrower column of sentences is not readable
_GAP = 2


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # main() ends the command as a shell expects; rich would exit with 1


def is_screen() -> bool:
    """Whether stdout is a terminal that can be drawn on; else it gets lines, and no control codes."""
    able = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    return able and sys.stdout is not None and sys.stdout.isatty()


def screen_width() -> int | None:
    """Columns of the terminal; None for a log, where a reason cut into columns could not be searched."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, 20)


_COLORS = is_screen() and not os.environ.get("NO_COLOR")
console = _Console(
    highlight=False,
    soft_wrap=True,
    force_terminal=is_screen(),  # and not by a variable: a file must stay readable
    color_system="auto" if _COLORS else None,
    width=None if is_screen() else screen_width() or 200,
)


def say(text: str, style: str = "", *, indent: int = 0) -> None:
    """One sentence, broken between words if it must be; the lines after the first are indented."""
    console.print(Text(wrapped(text, screen_width(), indent=indent), style))


def wrapped(text: str, width: int | None, *, indent: int = 0) -> str:
    """``text`` in lines of ``width`` columns. A wider word stays whole: the terminal goes on with it in its next
    row, and it can be copied."""
    if width is None:
        return text
    lines = [
        textwrap.fill(
            line,
            width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
            replace_whitespace=False,
        )
        for line in text.split("\n")
    ]
    return "\n".join(lines)


def show_table(headers: Sequence[str], rows: Sequence[Sequence[str | Text]], *, prose: bool = False) -> None:
    """A table where its columns fit, else a paragraph per row: its first cell, and the others by their headers.

    ``prose``: the last column holds sentences, and is narrowed before the table is given up.
    """
    width = screen_width()
    columns = [max(cell_len(str(cell)) for cell in column) for column in zip(headers, *rows, strict=True)]
    last = columns[-1]
    if width is not None and prose:
        rest = width - sum(columns[:-1]) - _GAP * (len(columns) - 1)
        last = min(last, max(rest, _PROSE_COLUMNS))
        rows = [(*row[:-1], wrapped(str(row[-1]), last)) for row in rows]
        last = max(cell_len(line) for row in ((headers[-1],), *rows) for line in str(row[-1]).split("\n"))
    natural = sum(columns[:-1]) + last + _GAP * (len(columns) - 1)
    if width is not None and natural > width:
        return _show_paragraphs(headers, rows, prose=prose)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, no_wrap=True)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return console.print(table, width=natural)


def _show_paragraphs(headers: Sequence[str], rows: Sequence[Sequence[str | Text]], *, prose: bool) -> None:
    for row in rows:
        first, *others = (" ".join(str(cell).split()) for cell in row)
        if prose:  # sentences need no header, and names and words beside them none either
            first, others = "  ".join([first, *others[:-1]]), others[-1:]
        else:
            others = [f"{header}: {cell}" for header, cell in zip(headers[1:], others, strict=True) if cell]
        say(first, "bold")
        if text := "; ".join(others):
            say(f"  {text}", indent=2)


def show_plan(plan: Plan) -> None:
    """What is there, what would be made, and why."""
    rows = []
    for item in plan.steps:
        present = "adopted" if item.origin == "adopted" else "present"
        state = present if item.reason is None else "missing" if item.reason == "missing" else "stale"
        rows.append((item.step.name, state, "" if item.reason in (None, "missing") else item.reason))
    show_table(("asset", "state", "why"), rows, prose=True)
