"""How often a 95 % interval of ours holds the truth: ``python benchmarks/interval_coverage.py [--repeats 1000]``

Draws evaluations whose true means are known, and counts. Questions of an image are alike: each image has its own
chance of a right answer, from a beta distribution of the given intraclass correlation. Scores are 0 or 1, or
graded as VQA accuracy is (0, .3, .6, .9, 1); a row is the mean over true accuracies from .05 to .95, with the
lowest and the highest of them. Differences are those of two strategies that agree on some or most questions; CIDEr
is a gamma distribution, half of it zeros, of one caption an image. The percentile bootstrap is to compare with.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from icd_assets.evaluation.report import Interval
from icd_assets.evaluation.statistics import interval

Floats = NDArray[np.float64]
Draw = Callable[[], tuple[Floats, float]]  # values [m, q], and their true mean

_TRUE = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)
_GRADES, _SHARES = (0.3, 0.6, 0.9, 1.0), (0.1, 0.15, 0.15, 0.6)
# (accuracy of one strategy, what the other has more, share of questions on which it answers as the first)
_PAIRS = (
    (0.5, 0, 0.5),
    (0.5, 0, 0.9),
    (0.2, 0, 0.8),
    (0.05, 0, 0.5),
    (0.7, 0.1, 0.6),
    (0.5, 0.3, 0.3),
    (0.1, 0.6, 0.1),
)


def chances(rng: np.random.Generator, images: int, mean: float, alike: float) -> Floats:
    """The images' chances [m, 1] of a right answer."""
    if alike == 0:
        return np.full((images, 1), mean)
    return rng.beta(mean * (1 - alike) / alike, (1 - mean) * (1 - alike) / alike, size=(images, 1))


def scores(
    rng: np.random.Generator, shape: tuple[int, int], mean: float, alike: float, graded: bool
) -> tuple[Floats, float]:
    right = (rng.random(shape) < chances(rng, shape[0], mean, alike)).astype(float)
    if not graded:
        return right, mean
    return right * rng.choice(_GRADES, p=_SHARES, size=shape), mean * float(np.dot(_GRADES, _SHARES))


def differences(
    rng: np.random.Generator,
    shape: tuple[int, int],
    pair: tuple[float, float, float],
    alike: float,
    graded: bool,
) -> tuple[Floats, float]:
    one, more, agree = pair
    other = min(max((one + more - agree * one) / (1 - agree), 0.001), 0.999)
    a, mean = scores(rng, shape, one, alike, graded)
    b, other_mean = scores(rng, shape, other, alike, graded)
    b = np.where(rng.random(shape) < agree, a, b)
    return b - a, (1 - agree) * (other_mean - mean)


def ciders(rng: np.random.Generator, images: int) -> tuple[Floats, float]:
    return (rng.random((images, 1)) < 0.5) * rng.gamma(1.2, 1 / 1.2, size=(images, 1)), 0.5


def ours(values: Floats, low: float, high: float) -> Interval:
    images = np.repeat(np.arange(len(values)), values.shape[1])
    return interval(values.ravel(), images, low, high)


def bootstrap(rng: np.random.Generator, values: Floats) -> tuple[float, float]:
    """The percentile interval over questions."""
    flat = values.ravel()
    means = flat[rng.integers(flat.size, size=(400, flat.size))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def coverage(
    rng: np.random.Generator, draw: Draw, low: float, high: float | None, repeats: int
) -> tuple[float, float]:
    """Share of repeats in which our interval, and the bootstrap's of every tenth, hold the truth.

    high: None takes the largest value there is, as :func:`icd_assets.evaluation.compare.compare` does for CIDEr.
    """
    held, theirs = 0, []
    for repeat in range(repeats):
        values, truth = draw()
        top = max(float(np.abs(values).max()), 1e-9) if high is None else high
        found = ours(values, -top if low < 0 else low, top)
        held += found.low - 1e-6 <= truth <= found.high + 1e-6
        if repeat % 10 == 0:
            below, above = bootstrap(rng, values)
            theirs.append(below - 1e-9 <= truth <= above + 1e-9)
    return held / repeats, float(np.mean(theirs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="evaluations drawn for each true mean")
    parser.add_argument("--questions", type=int, nargs="+", default=[30, 100, 300, 800])
    parser.add_argument("--alike", type=float, nargs="+", default=[0.0, 0.2], help="intraclass correlations")
    options = parser.parse_args()
    rng = np.random.default_rng(0)

    def row(
        name: str, questions: int, each: int, alike: float, draws: list[Draw], low: float, high: float | None
    ) -> None:
        found = [coverage(rng, draw, low, high, options.repeats) for draw in draws]
        held = [share for share, _ in found]
        theirs = float(np.mean([share for _, share in found]))
        print(
            f"| {name} | {questions} | {each} | {alike} "
            f"| {np.mean(held):.3f} | {min(held):.3f} to {max(held):.3f} | {theirs:.3f} |",
            flush=True,
        )

    print(
        "| what | questions | per image | alike | holds the truth | over true means | bootstrap over questions |"
    )
    print("|---|---|---|---|---|---|---|")
    for questions in options.questions:
        for each in (1, 5, 10):
            shape = (questions // each, each)
            for alike in options.alike if each > 1 else [0.0]:
                for graded in (False, True):
                    word = "graded" if graded else "0 or 1"
                    of_scores: list[Draw] = [
                        lambda mean=mean: scores(rng, shape, mean, alike, graded)  # type: ignore[misc] # noqa: B023
                        for mean in _TRUE
                    ]
                    row(f"score, {word}", questions, each, alike, of_scores, 0, 1)
                    of_pairs: list[Draw] = [
                        lambda pair=pair: differences(rng, shape, pair, alike, graded)  # type: ignore[misc] # noqa: B023
                        for pair in _PAIRS
                    ]
                    row(f"difference, {word}", questions, each, alike, of_pairs, -1, 1)
        row("CIDEr", questions, 1, 0.0, [lambda: ciders(rng, questions)], 0, None)  # noqa: B023
        row(
            "CIDEr, difference",
            questions,
            1,
            0.0,
            [lambda: (ciders(rng, questions)[0] - ciders(rng, questions)[0], 0.0)],  # noqa: B023
            -1,
            None,
        )


if __name__ == "__main__":
    main()
