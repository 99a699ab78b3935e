"""How words and tables are shown: whole in a log, and on a screen at its width, with no name ever cut."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from icd_assets.experiment.plan import Plan
from icd_assets.runtime.foreign import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

    from icd_assets.experiment.recipe_cost import RecipeCost

_LOG_COLUMNS = 10_000  # a log has no width: a reason that is cut into columns cannot be searched


def is_screen() -> bool:
    """Whether stdout is a terminal that can be drawn on; else it gets lines, and no control codes."""
    able = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    return able and sys.stdout is not None and sys.stdout.isatty()


def screen_width() -> int | None:
    """Columns of the terminal; None for a log."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, 20)


class _Console(Console):
    """Rich's, with three habits of our own: sentences are broken between words, a word that is wider than the
    screen stays whole (the terminal goes on with it in the next row, and it can be copied), and a table that does
    not fit is shown as paragraphs. And no text steers the terminal: names come from files of anyone's."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=harmless(segment.text))

    def print(self, *objects: Any, **options: Any) -> None:
        if len(objects) == 1 and isinstance(objects[0], Table):
            return self._print_table(objects[0])
        width = screen_width()
        if width is not None:
            objects = tuple(self._wrapped(one, width) for one in objects)
        return super().print(*objects, **options)

    def _wrapped(self, shown: Any, width: int) -> Any:
        if isinstance(shown, str):
            shown = Text(shown)
        return wrapped(shown, width) if isinstance(shown, Text) else shown

    def _print_table(self, table: Table) -> None:
        width = screen_width() or _LOG_COLUMNS
        measured = Measurement.get(self, self.options.update(width=_LOG_COLUMNS), table)
        # A last column with a least width holds sentences: it is narrowed before the table is given up.
        least = measured.maximum
        if table.columns and (narrowest := table.columns[-1].min_width):
            prose = Measurement.get(self, self.options, Text("\n").join(_texts(table, -1))).maximum
            least -= max(0, prose - narrowest)
        if least <= width:
            return super().print(table, width=min(width, measured.maximum))
        for row in zip(*(_texts(table, column) for column in range(len(table.columns))), strict=True):
            self._print_paragraph(table, row)
        return None

    def _print_paragraph(self, table: Table, row: tuple[Text, ...]) -> None:
        """The first cell, and below it the others by their headers; sentences need none."""
        first, *others = row
        first.stylize("bold")
        if table.columns[-1].min_width:
            self.print(Text("  ").join([first, *others[:-1]]))
            others = others[-1:]
        else:
            headers = [str(column.header) for column in table.columns[1:]]
            others = [Text(f"{h}: ") + cell for h, cell in zip(headers, others, strict=True) if cell.plain.strip()]
            self.print(first)
        if (text := Text("; ").join(others)).plain.strip():
            self.print(Text("  ") + text)

    def show_cursor(self, show: bool = True) -> bool:
        return False  # it is never hidden, so it is there however the process ends

    def on_broken_pipe(self) -> None:
        raise  # main() ends the command as a shell expects; rich would exit with 1


def _texts(table: Table, column: int) -> list[Text]:
    cells = table.columns[column].cells
    return [cell.copy() if isinstance(cell, Text) else Text(str(cell)) for cell in cells]


def wrapped(text: Text, width: int) -> Text:
    """``text`` in lines of ``width`` columns; what follows from an indented line is indented as it is."""
    lines = []
    for line in text.split("\n", allow_blank=True):
        lead = len(line.plain) - len(line.plain.lstrip(" "))
        parts = line[lead:].divide(_breaks(line.plain[lead:], width - lead)) if lead < width else [line[lead:]]
        lines += [Text(" " * lead) + part for part in parts]
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def _breaks(line: str, width: int) -> list[int]:
    """Where the words of ``line`` begin that begin a line of their own."""
    breaks, used = [], 0
    for word in re.finditer(r"\S+\s*", line):
        if used and used + cell_len(word[0].rstrip()) > width:
            breaks.append(word.start())
            used = 0
        used += cell_len(word[0])
    return breaks


_SCREEN = is_screen()
console = _Console(
    markup=False,
    emoji=False,
    highlight=False,
    soft_wrap=True,
    force_terminal=_SCREEN,  # and not by a variable: a file must stay readable
    color_system="auto" if _SCREEN and not os.environ.get("NO_COLOR") else None,
    width=None if _SCREEN else screen_width() or _LOG_COLUMNS,
)


def headed(heading: str, text: str = "") -> Text:
    """A line that begins with bold words."""
    return Text.assemble((heading, "bold"), text)


def show_plan(plan: Plan) -> None:
    """What is there, what would be made, and why."""
    table = Table("asset", "state", "why", box=None, pad_edge=False, header_style="bold")
    table.columns[-1].min_width = 24
    for item in plan.steps:
        present = "adopted" if item.origin == "adopted" else "present"
        state = present if item.reason is None else "missing" if item.reason == "missing" else "stale"
        table.add_row(item.step.name, state, "" if item.reason in (None, "missing") else item.reason)
    console.print(table)


def show_costs(costs: Sequence[RecipeCost]) -> None:
    """What each recipe would ask of the model, the cell's own marked."""
    table = Table("recipe", "VLM prompts", "TFLOP", "for", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:3]:
        column.justify = "right"
    table.columns[-1].min_width = 20
    for one in costs:
        parts = " + ".join(f"{count:,} {name}" for name, count in one.prompts.items())
        tflop = "" if one.tflop is None else f"{one.tflop:,.1f}"
        style = "bold" if one.chosen else ""
        table.add_row(f"{one.recipe}{' ←' if one.chosen else ''}", f"{one.total:,}", tflop, parts, style=style)
    console.print(table)
    estimate = " TFLOP: 2 × weights × tokens, tokens estimated from the model's configuration."
    known = any(one.tflop is not None for one in costs)
    console.print(
        f"Prompts at most, to train; what was answered before is not asked again.{estimate if known else ''}\n",
    )
