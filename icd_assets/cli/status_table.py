"""The table of cells × assets at any width. What a cell is called is never cut."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from icd_assets.experiment.steps import STEPS
from icd_assets.runtime.foreign import printable
from icd_assets.upkeep.status import AssetStatus, CellStatus

_SHOWN = {"missing": "–", "left out": "·", "unjudged": "?"}
_STYLES = {"stale": "yellow", "running": "cyan", "fresh": "green", "unjudged": "yellow"}
_GAP = 2


def lines(found: Sequence[CellStatus], width: int) -> Iterator[Text]:
    """One row a cell; where that is too wide, the name on a line above its row; where that is, words."""
    names = [_name(one) for one in found]
    shown = _shown(found)
    rows = [[_mark(one.assets[column]) for column in shown] for one in found]
    titles = [Text(STEPS[column].title, "bold") for column in shown]
    columns = [max(cell_len(cell.plain) for cell in column) for column in zip(titles, *rows, strict=True)]
    row, named = sum(columns) + _GAP * (len(columns) - 1), max(map(cell_len, names))
    if named + _GAP + row <= width:
        yield _row([Text("cell", "bold"), *titles], [named, *columns])
        for name, cells in zip(names, rows, strict=True):
            yield _row([Text(name), *cells], [named, *columns])
    elif row + _GAP <= width:
        yield _row([Text(""), *titles], [0, *columns])
        for name, cells in zip(names, rows, strict=True):
            yield Text(name)
            yield _row([Text(""), *cells], [0, *columns])
    else:
        for name, cells in zip(names, rows, strict=True):
            yield Text(name)
            yield from _in_words(cells, [STEPS[column].title for column in shown], width)


def _shown(found: Sequence[CellStatus]) -> list[int]:
    """The steps that a recipe of the cells shown has, or of which there is something."""
    return [
        column
        for column in range(len(STEPS))
        if any(one.assets[column].state != "left out" or one.assets[column].manifest for one in found)
    ]


def _name(one: CellStatus) -> str:
    return printable(f"  {one.flags}" if one.flags else str(one.cell))


def _mark(one: AssetStatus) -> Text:
    shown = _SHOWN.get(one.state, one.state)
    if one.state == "fresh" and one.manifest is not None and one.manifest.origin != "made":
        shown = one.manifest.origin
    return Text(printable(shown), _STYLES.get(one.state, ""))


def _row(cells: Sequence[Text], columns: Sequence[int]) -> Text:
    found = Text()
    for cell, column in zip(cells, columns, strict=True):
        found.append_text(cell)
        found.append(" " * (column - cell_len(cell.plain) + _GAP))
    found.rstrip()
    return found


def _in_words(cells: Sequence[Text], titles: Sequence[str], width: int) -> Iterator[Text]:
    """``fresh: pools, beams`` by state, in the order in which states first show."""
    by_state: dict[str, list[str]] = {}
    for cell, title in zip(cells, titles, strict=True):
        by_state.setdefault(cell.plain, []).append(title)
    for state, own in by_state.items():
        yield from map(
            Text,
            textwrap.wrap(
                f"{state}: {', '.join(own)}",
                max(width, 20),
                initial_indent="  ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            ),
        )
