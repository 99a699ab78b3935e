"""How sure a difference between two strategies is that answered the same queries, and what would show at all.

The interval is Tango's score interval for a difference of paired proportions (1998, *Statistics in Medicine* 17,
891–908; among those that Fagerland, Lydersen and Laake 2014, *Statistics in Medicine* 33, recommend), and the
p-value that of the score test which it inverts: McNemar's. Where few answers changed both are closer to what
they promise than the normal approximation is. Deviations, which change nothing for right and wrong answers to
independent queries:

1. Graded scores, and differences averaged over seeds, are taken for ±s or 0, where s = Σd² / Σ|d| is the size of
   a typical change: shares of gains and losses follow that have the same mean and the same second moment.
2. The number of queries is divided by the design effect of those that share an image
   (:func:`icd_assets.evaluation.statistics.design_effect`), as for scores.

With fewer than 20 changed answers the p-value is the exact sign test's (binomial, two-sided) over the images on
which the strategies differ: images are independent of each other, questions of one image are not.

benchmarks/interval_coverage.py simulates how often these intervals hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from icd_assets.evaluation.report import Interval
from icd_assets.evaluation.statistics import Floats, design_effect, require_within, rounded

FEW_CHANGES = 20  # below it the exact sign test decides
_NORMAL = NormalDist()
_Z, _POWER_Z = _NORMAL.inv_cdf(0.975), _NORMAL.inv_cdf(0.8)


@dataclass(frozen=True, slots=True)
class Paired:
    """A paired difference: its 95 % interval, its p-value, and on how many queries the scores differ at all.

    ``detectable``: the smallest true difference that such queries show with 80 % power; None where they show none.
    """

    interval: Interval
    changed: int
    p_value: float
    detectable: float | None


def paired(gains: ArrayLike, images: ArrayLike, bound: float = 1.0) -> Paired:
    """What ``gains`` [n] say, each in [-bound, bound]: of each query one strategy's score minus the other's.

    images: [n], equal where queries share one; from one image of several queries nothing follows.

    >>> paired([1, 0, 0, 1, -1, 0], range(6)).interval.value
    0.166667

    Raises ValueError without queries, or for a gain out of bounds.
    """
    shares = np.asarray(gains, dtype=np.float64) / bound
    require_within(shares, -1, 1)
    changes = np.where(np.abs(shares) > 1e-9, shares, 0.0)
    effect, n = design_effect(changes, images), len(changes)
    absolute, square = float(np.abs(changes).mean()), float(changes @ changes) / n
    mean, size = float(changes.mean()), square / absolute if absolute else 1.0
    if math.isinf(effect):
        return Paired(rounded(mean * bound, -bound, bound), int(np.count_nonzero(changes)), 1.0, None)
    gained, lost = (absolute + mean) / 2 / size, (absolute - mean) / 2 / size
    low, high = tango(max(gained, 0.0), max(lost, 0.0), n / effect)
    unit = size * bound
    found = rounded(mean * bound, min(low * unit, mean * bound), max(high * unit, mean * bound))
    changed = int(np.count_nonzero(changes))
    p_value = _sign_test(changes, images) if changed < FEW_CHANGES else _score_test(mean, square, n / effect)
    return Paired(found, changed, round(p_value, 6), _detectable(gained + lost, n / effect, unit))


def tango(gained: float, lost: float, n: float) -> tuple[float, float]:
    """Tango's 95 % interval of a difference in [-1, 1]; ``gained``, ``lost``: shares of ``n`` pairs."""
    difference = gained - lost

    def score(truth: float) -> float:
        """The statistic at a true difference, with the likeliest losses there; it falls with ``truth``."""
        linear = -gained - lost + (2 - gained + lost) * truth
        constant = -lost * truth * (1 - truth)
        losses = max((math.sqrt(max(linear**2 - 8 * constant, 0.0)) - linear) / 4, 0.0)
        variance = (2 * losses + truth * (1 - truth)) / n
        return (difference - truth) / math.sqrt(max(variance, 1e-300))

    return _root(score, _Z, -1.0, difference), _root(score, -_Z, difference, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of a family (1979, *Scandinavian J. of Statistics* 6): rejecting those below .05
    leaves one false rejection in twenty families, however the tests depend on each other."""
    adjusted, reached = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        reached = max(reached, min((len(p_values) - rank) * p_values[place], 1.0))
        adjusted[place] = round(reached, 6)
    return adjusted


def _root(falling: Callable[[float], float], target: float, low: float, high: float) -> float:
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > target else (low, middle)
    return (low + high) / 2


def _score_test(mean: float, square: float, n: float) -> float:
    """Two-sided: below .05 exactly where Tango's interval leaves out 0."""
    return 2 * (1 - _NORMAL.cdf(abs(mean) / math.sqrt(square / n)))


def _sign_test(changes: Floats, images: ArrayLike) -> float:
    """Two-sided exact binomial over images, by the sign of an image's summed change; ties are left out."""
    totals = np.bincount(np.unique(np.asarray(images), return_inverse=True)[1], weights=changes)
    ups, downs = int((totals > 1e-9).sum()), int((totals < -1e-9).sum())
    if (ups - downs) * float(changes.sum()) <= 0:  # more images go one way, but the mean the other
        return 1.0
    count = ups + downs
    tail = sum(math.comb(count, k) for k in range(min(ups, downs) + 1))
    return float(min(tail / 2 ** (count - 1), 1.0))


def _detectable(share: float, n: float, unit: float) -> float | None:
    """The difference d with z(.975) √(ψ/n) + z(.8) √((ψ - d²)/n) = d, ψ the ``share`` of changed answers
    (Connor 1987, *Biometrics* 43). Where so few do not suffice, even all one way, ψ is d itself."""

    def power(d: float) -> float:
        changed = max(share, d)
        return d - _Z * math.sqrt(changed / n) - _POWER_Z * math.sqrt((changed - d**2) / n)

    if power(1.0) < 0:
        return None
    return round(_root(lambda d: -power(d), 0.0, 0.0, 1.0) * unit, 6)
