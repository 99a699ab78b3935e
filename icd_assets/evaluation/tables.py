"""Tables as text, and one table of several comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icd_assets.evaluation.report import Comparison, DifferenceRow, Interval, StrategyRow


def text_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """In Markdown, with columns aligned."""
    widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in [header, rule, *lines]
    )


def by_strategy(comparisons: Mapping[str, Comparison]) -> dict[str, dict[str, StrategyRow]]:
    """The main tables of several cells as one: strategy → a cell's name → its row there.

    Strategies stand in the order of the first comparison that has them, each after its neighbour of it.
    """
    names: list[str] = []
    for comparison in comparisons.values():
        at = 0
        for row in comparison.main:
            if row.strategy not in names:
                names.insert(at, row.strategy)
            at = names.index(row.strategy) + 1
    found: dict[str, dict[str, StrategyRow]] = {name: {} for name in names}
    for cell, comparison in comparisons.items():
        for row in comparison.main:
            found[row.strategy][cell] = row
    return found


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"


def bracketed(found: Interval | None, digits: int = 2, sign: str = "") -> str:
    """``69.23 [63.01, 74.96]``"""
    if found is None:
        return "–"
    value, low, high = (f"{100 * number:{sign}.{digits}f}" for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def signed(row: DifferenceRow | None) -> str:
    """A difference, with a star where it can be told from 0 in the family of the table."""
    return "–" if row is None else bracketed(row.difference, sign="+") + starred(row)


def starred(row: DifferenceRow) -> str:
    return "*" if row.p_holm is not None and row.sign else ""
