"""What a comparison says, in sentences: what is better than what, and what so few questions cannot tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icd_assets.evaluation.report import Comparison, DifferenceRow, Interval

# An interval this far to each side tells nothing that anybody asks of a table: 10 points.
_TOO_WIDE = 0.1
_AIM = 0.05


def verdict(comparison: Comparison) -> list[str]:
    """Sentences about the recommended strategy against each reference, and warnings."""
    return [*_against_references(comparison), *warnings(comparison)]


def warnings(comparison: Comparison) -> list[str]:
    """Why the table should not be believed: nothing is ever right, or there are too few questions."""
    main = [row for row in comparison.strategies if row.shots in (0, comparison.compare_shots)]
    best = max(main, key=lambda row: row.score.high)
    if comparison.metric == "accuracy" and all(row.score.value == 0 for row in comparison.strategies):
        return [
            f"Warning: no strategy gave a right answer to any of {comparison.queries}, so the table compares "
            f"nothing (each may be right up to {100 * best.score.high:.1f} % of the time); see the answers in "
            "predictions.jsonl, and check the model, its prompt and the annotations."
        ]
    if comparison.num_images == 1 and comparison.num_queries > 1:
        return [f"Warning: all {comparison.queries} are on one image, which tells nothing of others."]
    rows = _rows(comparison)
    widest = max((_half(row.difference) for row in rows), default=0.0)
    if not rows or widest <= _TOO_WIDE or any(_sign(row.difference) for row in rows):
        return []
    enough = math.ceil(comparison.num_queries * (widest / _AIM) ** 2 / 100) * 100
    return [
        f"Warning: {comparison.queries} are too few to tell anything: only differences of some {100 * widest:.0f} "
        f"points or more would show. Ask about {enough:,} for {100 * _AIM:.0f} points (TEST_DATA_NUM)."
    ]


def _against_references(comparison: Comparison) -> list[str]:
    rows = _rows(comparison)
    sentences = []
    for sign, word in ((1, "better"), (-1, "worse")):
        if parts := [
            f"than {row.reference} by {_points(row.difference)}" for row in rows if _sign(row.difference) == sign
        ]:
            sentences.append(f"{comparison.recommended} is {word} {_listed(parts)}.")
    if unknown := [row for row in rows if not _sign(row.difference)]:
        parts = [f"{row.reference} ({_range(row.difference)} points)" for row in unknown]
        known = f"no difference can be told from {comparison.queries}"
        sentences.append(f"{comparison.recommended} against {_listed(parts)}: {known}.")
    return sentences


def _rows(comparison: Comparison) -> list[DifferenceRow]:
    """The recommended strategy's differences in the main table."""
    return [
        row
        for row in comparison.differences
        if row.strategy == comparison.recommended and row.shots == comparison.compare_shots
    ]


def _sign(found: Interval) -> int:
    """1 or -1 if the interval leaves no doubt, else 0."""
    return 1 if found.low > 0 else -1 if found.high < 0 else 0


def _half(found: Interval) -> float:
    return (found.high - found.low) / 2


def _points(found: Interval) -> str:
    """``36.9 points (31.1 to 42.5)``, of a difference whose sign is said in words."""
    low, high = sorted((abs(found.low), abs(found.high)))
    return f"{100 * abs(found.value):.1f} points ({100 * low:.1f} to {100 * high:.1f})"


def _range(found: Interval) -> str:
    return f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"


def _listed(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``"""
    return " and ".join([part for part in (", ".join(parts[:-1]), parts[-1]) if part])
