"""Tables as text, and one table of several comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icd_assets.evaluation.report import Comparison, DifferenceRow, Interval


def text_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """In Markdown, with columns aligned."""
    widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in [header, rule, *lines]
    )


def cells_table(comparisons: Mapping[str, Comparison]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of one table: a row for each strategy of the main tables, a column for each cell.

    comparisons: a column's name → its comparison. Strategies stand in the order of the first comparison that has
    them, and after their neighbour of it; each score has its interval, "–" where a cell has no such row.
    """
    names: list[str] = []
    for comparison in comparisons.values():
        at = 0
        for row in comparison.main:
            if row.strategy not in names:
                names.insert(at, row.strategy)
            at = names.index(row.strategy) + 1
    found = {(cell, r.strategy): r for cell, comparison in comparisons.items() for r in comparison.main}
    lines = []
    for name in names:
        rows = [found.get((cell, name)) for cell in comparisons]
        mark = " †" if any(row is not None and row.num_queries is not None for row in rows) else ""
        lines.append([name + mark, *(bracketed(None if row is None else row.score, 1) for row in rows)])
    header = ["strategy", *(f"{cell}, {one.label} (n={one.num_queries})" for cell, one in comparisons.items())]
    return header, lines


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
