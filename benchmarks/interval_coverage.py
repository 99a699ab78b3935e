"""How often a 95 % interval of ours holds the truth: ``python benchmarks/interval_coverage.py [--repeats 2000]``

Draws evaluations whose true means are known, and counts. Questions of an image are alike: each image has its own
chance of a right answer, or of a changed one, from a beta distribution of the given intraclass correlation. Values
are 0 or 1, or graded as VQA accuracy is (0, .3, .6, .9, 1).

- Scores: of a true accuracy of 2, 10 or 30 % (of 98, 90 and 70 % by symmetry), and 50 %.
- Differences: the share given of the answers changes; all for the better, or 60 or 50 of 100 changes.
- Of 3 seeds: each seed changes answers of its own, half of them those that every seed changes; values are means
  over the seeds, the truth is that of the mean.

Numbers of changed answers are whole, and at one true share the coverage jumps with it: of 300 questions 2 % are
6. The share is therefore drawn anew for each evaluation, from .8 to 1.2 times the one given; ``--exact`` leaves
it as it is. A row is the mean over directions with the lowest and the highest of them. The percentile bootstrap
over questions, 400 resamples of every tenth evaluation, is to compare with. CIDEr is a gamma distribution, half
of it zeros, of one caption an image.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from icd_assets.evaluation.paired import paired
from icd_assets.evaluation.report import Interval
from icd_assets.evaluation.statistics import interval

Floats = NDArray[np.float64]
Draw = Callable[[], tuple[Floats, float]]  # values [m, q], and their true mean

_SHARES = (0.02, 0.1, 0.3)
_DIRECTIONS = (1.0, 0.6, 0.5)
_GRADES, _OF_GRADES = (0.3, 0.6, 0.9, 1.0), (0.1, 0.15, 0.15, 0.6)


class World:
    """Draws evaluations of one shape: ``questions`` on images of ``each`` questions, alike by ``alike``."""

    def __init__(self, questions: int, each: int, alike: float, graded: bool, exact: bool) -> None:
        self.rng = np.random.default_rng([questions, each, int(100 * alike), graded])
        self.shape = (questions // each, each)
        self.alike, self.graded, self.exact = alike, graded, exact

    def near(self, share: float) -> float:
        return share if self.exact else float(self.rng.uniform(0.8, 1.2)) * share

    def happens(self, chance: float) -> Floats:
        """[m, q] of 0 and 1, of the same chance in the mean."""
        chances: Floats | float = chance
        if self.alike:
            much = 1 / self.alike - 1
            chances = self.rng.beta(chance * much, (1 - chance) * much, size=(self.shape[0], 1))
        return (self.rng.random(self.shape) < chances).astype(float)

    def sized(self, values: Floats) -> tuple[Floats, float]:
        """Graded, and the mean size of a grade."""
        if not self.graded:
            return values, 1.0
        grades = self.rng.choice(_GRADES, p=_OF_GRADES, size=self.shape)
        return values * grades, float(np.dot(_GRADES, _OF_GRADES))

    def score(self, mean: float) -> tuple[Floats, float]:
        chance = self.near(mean)
        values, size = self.sized(self.happens(chance))
        return values, chance * size

    def difference(self, share: float, better: float, seeds: int) -> tuple[Floats, float]:
        """A seed's change is at its turn the same in all seeds, so that seeds are alike, as they are."""
        chance, total, truth = self.near(share), np.zeros(self.shape), 0.0
        common = self.happens(chance)
        for _ in range(seeds):
            own = np.where(self.rng.random(self.shape) < 0.5, common, self.happens(chance))
            signs = np.where(self.rng.random(self.shape) < better, 1.0, -1.0)
            values, size = self.sized(own * signs)
            total, truth = total + values / seeds, chance * (2 * better - 1) * size
        return total, truth

    def cider(self) -> Floats:
        present = self.rng.random(self.shape) < 0.5
        return present * self.rng.gamma(1.2, 1 / 1.2, size=self.shape)


def of_score(values: Floats, top: float | None = 1.0) -> Interval:
    return interval(values.ravel(), _images(values), max(values.max(), 1e-9) if top is None else top)


def of_difference(values: Floats, top: float | None = 1.0) -> Interval:
    bound = max(float(np.abs(values).max()), 1e-9) if top is None else top
    return paired(values.ravel(), _images(values), bound).interval


def _images(values: Floats) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(values)), values.shape[1])


def bootstrap(rng: np.random.Generator, values: Floats) -> tuple[float, float]:
    """The percentile interval over questions."""
    flat = values.ravel()
    means = flat[rng.integers(flat.size, size=(400, flat.size))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def coverage(draw: Draw, find: Callable[[Floats], Interval], repeats: int) -> tuple[float, float]:
    """Share of repeats in which our interval, and the bootstrap's of every tenth, hold the truth."""
    rng, held, theirs = np.random.default_rng(1), 0, []
    for repeat in range(repeats):
        values, truth = draw()
        found = find(values)
        held += found.low - 1e-6 <= truth <= found.high + 1e-6
        if repeat % 10 == 0:
            below, above = bootstrap(rng, values)
            theirs.append(below - 1e-9 <= truth <= above + 1e-9)
    return held / repeats, float(np.mean(theirs))


def row(name: str, draws: Sequence[Draw], find: Callable[[Floats], Interval], repeats: int) -> None:
    found = [coverage(draw, find, repeats) for draw in draws]
    held = [share for share, _ in found]
    theirs = float(np.mean([share for _, share in found]))
    print(f"| {name} | {np.mean(held):.3f} | {min(held):.3f} to {max(held):.3f} | {theirs:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000, help="evaluations drawn for each direction")
    parser.add_argument("--questions", type=int, nargs="+", default=[30, 100, 300, 800, 1200])
    parser.add_argument("--each", type=int, nargs="+", default=[1, 5, 10], help="questions an image")
    parser.add_argument("--alike", type=float, nargs="+", default=[0.0, 0.2], help="intraclass correlations")
    parser.add_argument("--exact", action="store_true", help="the true share is just the one given")
    options = parser.parse_args()

    columns = "what | values | questions | per image | alike | true share"
    print(f"| {columns} | holds the truth | over directions | bootstrap over questions |")
    print("|---" * 9 + "|")
    for questions in options.questions:
        for each in options.each:
            for alike in options.alike if each > 1 else [0.0]:
                for graded in (False, True):
                    rows_of(World(questions, each, alike, graded, options.exact), options.repeats)
        world = World(questions, 1, 0.0, True, options.exact)
        captions = f"CIDEr | {questions} | 1 | 0.0 | –"
        row(f"score | {captions}", [partial(cider_score, world)], partial(of_score, top=None), options.repeats)
        draws = [partial(cider_difference, world)]
        row(f"difference | {captions}", draws, partial(of_difference, top=None), options.repeats)


def rows_of(world: World, repeats: int) -> None:
    images, each = world.shape
    rest = f"{'graded' if world.graded else '0 or 1'} | {images * each} | {each} | {world.alike}"
    for mean in (*_SHARES, 0.5):
        row(f"score | {rest} | {mean}", [partial(world.score, mean)], of_score, repeats)
    for seeds in (1, 3):
        name = "difference" if seeds == 1 else f"mean difference of {seeds} seeds"
        for share in _SHARES:
            draws = [partial(world.difference, share, better, seeds) for better in _DIRECTIONS]
            row(f"{name} | {rest} | {share}", draws, of_difference, repeats)


def cider_score(world: World) -> tuple[Floats, float]:
    return world.cider(), 0.5


def cider_difference(world: World) -> tuple[Floats, float]:
    return world.cider() - world.cider(), 0.0


if __name__ == "__main__":
    main()
