"""From outcomes to the comparison: intervals and paired differences from one set of resamples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.evaluate import Outcome
from icd_assets.evaluation.report import Comparison, DifferenceRow, StrategyRow
from icd_assets.evaluation.statistics import interval, resampled_means

REFERENCES = ("zero-shot", "random", "image+text similarity")


def compare(
    outcomes: Sequence[Outcome],
    config: EvaluationConfig,
    references: Sequence[str] = REFERENCES,
    metric: str = "accuracy",
) -> Comparison:
    """All outcomes with 95 % intervals, and each strategy against each reference at the same shots.

    ``metric`` names what gave the scores: ``accuracy`` or ``CIDEr``. CIDEr's document frequencies are those of the
    queries evaluated, in every resample.

    References that were not evaluated are left out. All outcomes must cover the same queries in the same
    order.
    """
    queries = [[prediction.question_id for prediction in outcome.predictions] for outcome in outcomes]
    if any(own != queries[0] for own in queries):
        raise ValueError("outcomes cover different queries and cannot be compared")
    scores = np.array([outcome.scores for outcome in outcomes])  # [M, n]
    points = scores.mean(axis=1)  # [M]
    resampled = resampled_means(scores, config.bootstrap_resamples, config.seed)  # [R, M]
    index = {(outcome.strategy, outcome.shots): at for at, outcome in enumerate(outcomes)}
    if len(index) < len(outcomes):
        raise ValueError("a strategy occurs twice at the same number of shots")
    differences = []
    for reference in references:
        for at, outcome in enumerate(outcomes):
            base = index.get((reference, outcome.shots), index.get((reference, 0)))
            if base is None or outcome.strategy == reference or outcome.shots == 0:
                continue
            gain = interval(points[at] - points[base], resampled[:, at] - resampled[:, base])
            differences.append(
                DifferenceRow(strategy=outcome.strategy, reference=reference, shots=outcome.shots, difference=gain)
            )
    return Comparison(
        num_queries=len(queries[0]),
        compare_shots=config.compare_shots,
        bootstrap_resamples=config.bootstrap_resamples,
        seed=config.seed,
        metric=metric,
        strategies=tuple(
            StrategyRow(
                strategy=outcome.strategy,
                shots=outcome.shots,
                score=interval(points[at], resampled[:, at]),
                copy_rate=outcome.copy_rate,
                gold_shown_rate=outcome.gold_shown_rate,
            )
            for at, outcome in enumerate(outcomes)
        ),
        differences=tuple(differences),
    )
