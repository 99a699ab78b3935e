"""Evaluations of one cell under several seeds: their mean, question by question, and beside it how far they lie
apart.

An interval is over questions: of each question the mean over the seeds is one value, of which the interval is
found as of any other (:mod:`icd_assets.evaluation.statistics`, :mod:`icd_assets.evaluation.paired`). It says
what other questions would give with these seeds. What other seeds would give is not in it; three seeds hardly
tell. Their spread stands beside it: each seed's value, and the standard deviation.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError
from icd_assets.evaluation.predictions import read_scores
from icd_assets.evaluation.report import Comparison, DifferenceRow
from icd_assets.evaluation.tables import bracketed, signed, text_table
from icd_assets.evaluation.verdict import footnotes, verdict


@dataclass(frozen=True, slots=True)
class SeedComparison:
    """``average``: the comparison of scores averaged over ``seeds``; ``each``: every seed's own, in order."""

    seeds: tuple[int, ...]
    average: Comparison
    each: tuple[Comparison, ...]

    def scores(self, strategy: str) -> list[float]:
        """Each seed's score in the main table."""
        return [one.row(strategy).score.value for one in self.each]

    def gains(self, row: DifferenceRow) -> list[float]:
        """Each seed's own difference."""
        key = (row.strategy, row.reference, row.shots)
        return [
            next(r.difference.value for r in one.differences if (r.strategy, r.reference, r.shots) == key)
            for one in self.each
        ]

    def markdown(self) -> str:
        """Scores by seed, and differences with the seeds' spread."""
        header = ["strategy", f"mean {self.average.label}", *(f"seed {seed}" for seed in self.seeds), "sd"]
        lines = [
            [self.average.name(row), bracketed(row.score), *_points(self.scores(row.strategy))]
            for row in self.average.main
        ]
        gains = ["difference", "mean", *(f"seed {seed}" for seed in self.seeds), "sd"]
        apart = [
            [f"{row.strategy} − {row.reference}", signed(row), *_points(self.gains(row), "+")]
            for row in self.average.family
        ]
        said = "".join(f"\n{sentence}\n" for sentence in [*footnotes(self.average), *verdict(self.average)])
        return f"{self.title}\n\n{text_table(header, lines)}\n\n{text_table(gains, apart)}\n{said}"

    @property
    def title(self) -> str:
        count, one = len(self.seeds), self.average
        seeds = f"{count} seed{'s' * (count > 1)}"
        return (
            f"{seeds}, {one.queries}, {one.compare_shots} shots; {one.intervals}; over questions, for these seeds"
        )

    def as_json(self) -> dict[str, Any]:
        """``average`` as in ``comparison.json``, and each seed's scores and differences of the main table."""
        return {
            "seeds": list(self.seeds),
            "average": self.average.model_dump(mode="json"),
            "scores": {row.strategy: self.scores(row.strategy) for row in self.average.main},
            "differences": [
                {"strategy": row.strategy, "reference": row.reference, "by_seed": self.gains(row)}
                for row in self.average.family
            ],
        }


def over_seeds(found: Mapping[int, tuple[Path, Path]]) -> SeedComparison:
    """The comparison of several seeds from the files of each: seed → ``comparison.json``, ``predictions.parquet``.

    Raises ``UserError`` for files that are not ours, and for seeds that asked other questions or compared other
    strategies than the first.
    """
    from icd_assets.evaluation.compare import Scored, compare_scores  # with NumPy

    each = {seed: Comparison.read(path) for seed, (path, _) in found.items()}
    read = {seed: read_scores(path) for seed, (_, path) in found.items()}
    (first, reference), *_ = each.items()
    for seed, other in each.items():
        for name, what in (
            ("metric", "metric"),
            ("compare_shots", "number of shots"),
            ("recommended", "selector"),
        ):
            if getattr(other, name) != getattr(reference, name):
                raise _unlike(seed, first, f"another {what}")
        if read[seed].keys() != read[first].keys():
            lacking = sorted(map(str, read[seed].keys() ^ read[first].keys()))
            raise _unlike(seed, first, f"other strategies ({lacking[0]})")
        if any(own.ids != read[first][key].ids for key, own in read[seed].items()):
            raise _unlike(seed, first, "other questions")
    scored = []
    for key, own in read[first].items():
        answers = [read[seed][key] for seed in each]
        scored.append(
            Scored(
                *key,
                tuple(own.ids),
                tuple(own.images),
                tuple(statistics.fmean(scores) for scores in zip(*(a.scores for a in answers), strict=True)),
                _mean_rate(each.values(), key, "copy_rate"),
                _mean_rate(each.values(), key, "gold_shown_rate"),
            )
        )
    average = compare_scores(
        scored,
        reference.references,
        compare_shots=reference.compare_shots,
        seed=reference.seed,
        metric=reference.metric,
        recommended=reference.recommended,
        prices={row.strategy: row.prompts for row in reference.strategies},
    )
    return SeedComparison(tuple(each), average, tuple(each.values()))


def _mean_rate(each: Iterable[Comparison], key: tuple[str, int], name: str) -> float | None:
    rates = [getattr(row, name) for one in each for row in one.strategies if (row.strategy, row.shots) == key]
    return None if None in rates or not rates else statistics.fmean(rates)


def _unlike(seed: int, first: int, what: str) -> UserError:
    return UserError(
        f"the evaluation of seed {seed} has {what} than that of seed {first}; run icd-assets train with --seeds "
        "again, with the same settings for all."
    )


def _points(values: Sequence[float], sign: str = "") -> list[str]:
    deviation = f"{100 * statistics.stdev(values):.2f}" if len(values) > 1 else "–"
    return [*(f"{100 * value:{sign}.2f}" for value in values), deviation]
