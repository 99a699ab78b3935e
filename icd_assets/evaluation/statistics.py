"""How sure a mean score is: a score interval at the effective number of queries. Differences: :mod:`.paired`.

Queries are clustered: those that share an image are alike. With `n` queries on `m` images:

1. The variance of the mean is cluster-robust: images are what was drawn, not questions (Miller 2024,
   arXiv:2411.00640, section 2.2). Over that of independent queries it is the design effect.
2. The effective number of queries is n over the design effect, times (t[n-1] / t[m-1])² for a variance that few
   images estimate (Korn and Graubard 1998, *Survey Methodology* 24).
3. Wilson's score interval at that number (recommended by Brown, Cai and DasGupta 2001, *Statistical Science* 16,
   for independent trials, and by Franco et al. 2019, *J. Survey Statistics and Methodology* 7, for clustered).
   It is right where the normal approximation is not: 0 of 30 is 0 to 11.4 %, not 0 to 0.

Deviations, for scores that are not only 0 or 1:
1. Scores of smaller variance than right and wrong have count for more queries, by the ratio of both variances.
2. Half an observation at each bound enters those two variances, so that equal scores are not taken for certainty
   (the idea of Bonett and Price 2012, *J. Educational and Behavioral Statistics* 37, who add one). Scores of 0 and
   1 are not touched by it.
3. The design effect does not let n queries count for more than 2n: images that are alike by chance say nothing.

benchmarks/interval_coverage.py simulates how often these intervals hold the truth.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icd_assets.evaluation.report import Interval

Floats = NDArray[np.float64]

_HALF = 0.5
_Z = NormalDist().inv_cdf(0.975)


def interval(values: ArrayLike, images: ArrayLike, high: float = 1.0) -> Interval:
    """The mean of ``values`` [n], all in [0, high], with its 95 % interval.

    images: [n], equal where queries share one. From one image of several queries nothing follows: the interval is
    all of [0, high]. Raises ValueError without queries, or for a value out of bounds.

    Rounded to six decimals: below that, the order in which numbers are added would show.
    """
    shares = np.asarray(values, dtype=np.float64) / high  # [n] in [0, 1]
    require_within(shares, 0, 1)
    mean = float(shares.mean())
    n = len(shares) / design_effect(shares, images) if len(shares) else 0.0
    below, above = _wilson(mean, n * _graded(shares))
    return rounded(mean * high, min(below, mean) * high, max(above, mean) * high)


def require_within(shares: Floats, low: float, high: float) -> None:
    if not len(shares):
        raise ValueError("no queries, so no mean")
    if not ((shares >= low - 1e-9) & (shares <= high + 1e-9)).all():
        raise ValueError(f"a value lies outside the bounds, which are {low} and {high} times the largest")


def rounded(value: float, low: float, high: float) -> Interval:
    return Interval(*(round(number, 6) + 0.0 for number in (value, low, high)))  # + 0.0: never -0.0


def design_effect(values: Floats, images: ArrayLike) -> float:
    """How many of ``values`` [n] say as much as one independent query; infinite where all are on one image.

    images: [n], equal where queries share one.
    """
    image = np.unique(np.asarray(images), return_inverse=True)[1]
    n, sizes = len(values), np.bincount(image)
    m = len(sizes)
    if m == 1 and n > 1:
        return math.inf
    apart = values - values.mean()
    independent = float(apart @ apart) / max(n - 1, 1) / n
    if independent > 1e-12:
        totals = np.bincount(image, weights=apart)  # [m]
        effect = float(totals @ totals) * m / (m - 1) / n**2 / independent
        if m < n:
            effect *= (t_quantile(m - 1) / t_quantile(n - 1)) ** 2
    else:  # all scores are equal: as if the questions of an image had one answer (Kish)
        effect = float(sizes @ sizes) / n
    return max(effect, 0.5)


def _graded(shares: Floats) -> float:
    """Variance of right and wrong answers of the same mean over that of the scores; 1 for scores of 0 and 1."""
    n = len(shares)
    mean = (float(shares.sum()) + _HALF) / (n + 2 * _HALF)
    square = (float(shares @ shares) + _HALF) / (n + 2 * _HALF)
    return mean * (1 - mean) / (square - mean**2)


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share among ``n`` trials; nothing is known from none."""
    if n == 0:
        return 0.0, 1.0
    center = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(max(share * (1 - share), 0) / n + _Z**2 / (4 * n**2))
    return max(center - half, 0.0), min(center + half, 1.0)


@cache
def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.3, 26.7.4; 26.7.5 for many degrees)."""
    if freedom > 100:
        z, z3, z5 = _Z, _Z**3, _Z**5
        return z + (z3 + z) / (4 * freedom) + (5 * z5 + 16 * z3 + 3 * z) / (96 * freedom**2)
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, freedom) < 0.95 else (low, middle)
    return high


def _t_within(t: float, freedom: int) -> float:
    """P(|T| < t)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(1 + odd, freedom - 1, 2):
        term *= power / (power + 1) * math.cos(angle) ** 2
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
