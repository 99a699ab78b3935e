"""What benchmarks say of two recipes that were trained under the same seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from icd_assets.evaluation.statistics import t_quantile


def difference(values: Sequence[float], first: Sequence[float], digits: int) -> str:
    """``+0.010 [+0.003, +0.018]``: the mean difference to ``first``, seed by seed, with its 95 % interval by
    Student's t; nothing where there is no second seed, or ``first`` itself."""
    apart = [value - other for value, other in zip(values, first, strict=True)]
    if len(apart) < 2 or values is first:
        return ""
    reach = t_quantile(len(apart) - 1) * statistics.stdev(apart) / len(apart) ** 0.5
    mean = statistics.fmean(apart)
    low, high = mean - reach, mean + reach
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
