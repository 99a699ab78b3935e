"""How sure a mean or a difference is: percentile bootstrap over queries.

Shapes: `n` queries, `M` series (strategies), `R` resamples. All series are resampled with the same queries,
so any difference of two is paired (Efron & Tibshirani 1993, ch. 13: the percentile interval).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icd_assets.evaluation.report import Interval
from icd_assets.runtime.seeding import seed_for

Floats = NDArray[np.float64]

_BLOCK = 1 << 22  # resampled indices held at once: 32 MB


def resampled_means(series: ArrayLike, resamples: int, seed: int) -> Floats:
    """Means [R, M] of ``series`` [M, n] over queries drawn with replacement.

    The draws depend on seed, n and R only: two calls with the same three are paired.
    """
    values = np.asarray(series, dtype=np.float64)
    _, n = values.shape
    if n == 0:
        raise ValueError("no queries to resample")
    rng = np.random.default_rng(seed_for(seed, "bootstrap", n))
    block = max(1, _BLOCK // n)
    means = []
    for start in range(0, resamples, block):
        drawn = rng.integers(n, size=(min(block, resamples - start), n))  # [block, n]
        offsets = np.arange(len(drawn))[:, None] * n
        counts = np.bincount((drawn + offsets).ravel(), minlength=drawn.size).reshape(drawn.shape)
        means.append(counts @ values.T / n)  # [block, M]
    return np.concatenate(means)


def interval(point: float, resampled: Floats) -> Interval:
    """``point`` with the central 95 % of its ``resampled`` values [R].

    Rounded to six decimals: below that, the order in which a BLAS library adds would show.
    """
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(round(float(point), 6), round(float(low), 6), round(float(high), 6))
