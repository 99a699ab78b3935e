"""Scores as bars with their intervals, in percent of a bar's width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from icd_assets.evaluation.report import Comparison, Interval


@dataclass(frozen=True, slots=True)
class Line:
    """``left`` and ``right`` are the interval's ends, ``at`` the score, in percent of the bar's width."""

    name: str
    row: Any
    score: Interval
    left: float
    at: float
    right: float


def lines(comparison: Comparison) -> list[Line]:
    """Of the main table's strategies."""
    return [line(comparison.name(row), row, row.score, top(comparison)) for row in comparison.main]


def line(name: str, row: Any, score: Interval, top: float) -> Line:
    left, at, right = (round(100 * value / top, 2) for value in (score.low, score.value, score.high))
    return Line(name, row, score, left, at, right)


def top(comparison: Comparison) -> float:
    """The end of the bars: 100 % of accuracy, the highest interval of another metric."""
    return 1.0 if comparison.metric == "accuracy" else max(row.score.high for row in comparison.strategies) or 1.0
