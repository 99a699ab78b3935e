"""What a comparison says, in sentences: what is better than what, and what so few questions cannot tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icd_assets.evaluation.report import Comparison, DifferenceRow, Interval

# An interval this far to each side tells nothing that anybody asks of a table: 10 points.
_TOO_WIDE = 0.1
_AIM = 0.05
_FEW_CHANGES = 20  # as in paired.py, which this light module does not import


def verdict(comparison: Comparison) -> list[str]:
    """Sentences about the recommended strategy against each reference, what would show at all, and warnings."""
    return [*_against_references(comparison), *_detectable(comparison), *warnings(comparison)]


def footnotes(comparison: Comparison) -> list[str]:
    """What the marks of the table mean."""
    found = []
    if any(row.p_holm is not None and row.sign for row in comparison.family):
        count = len(comparison.family)
        found.append(
            f"*: told from 0, at 5 % for all {count} differences of this table together (Holm)."
            if count > 1
            else "*: told from 0 at 5 %."
        )
    for row in comparison.main:
        if row.num_queries is not None:
            found.append(f"†: on the first {row.num_queries:,} alone; its differences are on the same.")
            break
    return found


def warnings(comparison: Comparison) -> list[str]:
    """Why the table should not be believed: nothing is ever right, or there are too few questions."""
    best = max(comparison.main, key=lambda row: row.score.high)
    if comparison.metric == "accuracy" and all(row.score.value == 0 for row in comparison.strategies):
        return [
            f"Warning: no strategy gave a right answer to any of {comparison.queries}, so the table compares "
            f"nothing (each may be right up to {100 * best.score.high:.1f} % of the time); see the answers in "
            "predictions.parquet, and check the model, its prompt and the annotations."
        ]
    if comparison.num_images == 1 and comparison.num_queries > 1:
        return [f"Warning: all {comparison.queries} are on one image, which tells nothing of others."]
    rows = _rows(comparison)
    widest = max((_half(row.difference) for row in rows), default=0.0)
    if not rows or widest <= _TOO_WIDE or any(row.sign for row in rows):
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
        if parts := [f"than {row.reference} by {_points(row)}" for row in rows if row.sign == sign]:
            sentences.append(f"{comparison.recommended} is {word} {_listed(parts)}.")
    if unknown := [row for row in rows if not row.sign]:
        parts = [f"{row.reference} ({_range(row.difference)} points{_how_few(row)})" for row in unknown]
        known = f"no difference can be told from {comparison.queries}"
        if any(row.difference.low > 0 or row.difference.high < 0 for row in unknown):
            known += f" (of {len(comparison.family)} intervals some leave out 0 by chance; Holm's correction)"
        sentences.append(f"{comparison.recommended} against {_listed(parts)}: {known}.")
    return sentences


def _detectable(comparison: Comparison) -> list[str]:
    """The smallest differences that would show, in one sentence."""
    parts = [
        f"{100 * row.detectable:.1f} points against {row.reference}"
        for row in _rows(comparison)
        if row.detectable is not None
    ]
    if not parts:
        return []
    return [
        f"{comparison.queries} show in four of five cases a difference of "
        f"{_listed(parts)}, as many answers differing as here."
    ]


def _how_few(row: DifferenceRow) -> str:
    """``, 12 answers changed: sign test``, where that decides."""
    if row.changed is None or row.changed >= _FEW_CHANGES:
        return ""
    if row.changed == 0:
        return ", no answer changed"
    return f", {row.changed} answer{'s' * (row.changed > 1)} changed: exact sign test"


def _rows(comparison: Comparison) -> list[DifferenceRow]:
    """The recommended strategy's differences in the main table."""
    return [
        row
        for row in comparison.differences
        if row.strategy == comparison.recommended and row.shots == comparison.compare_shots
    ]


def _half(found: Interval) -> float:
    return (found.high - found.low) / 2


def _points(row: DifferenceRow) -> str:
    """``36.9 points (31.1 to 42.5)``, of a difference whose sign is said in words."""
    sign = 1 if row.difference.value > 0 else -1
    low, high = sorted((100 * sign * row.difference.low, 100 * sign * row.difference.high))
    return f"{100 * abs(row.difference.value):.1f} points ({low:.1f} to {high:.1f}{_how_few(row)})"


def _range(found: Interval) -> str:
    return f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"


def _listed(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``"""
    return " and ".join([part for part in (", ".join(parts[:-1]), parts[-1]) if part])
