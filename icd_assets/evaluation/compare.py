"""From outcomes to the comparison: every score and every paired difference with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.evaluate import Outcome
from icd_assets.evaluation.report import Comparison, DifferenceRow, Interval, StrategyRow
from icd_assets.evaluation.statistics import Floats, interval

REFERENCES = ("zero-shot", "random", "image+text similarity")


def compare(
    outcomes: Sequence[Outcome],
    config: EvaluationConfig,
    references: Sequence[str] = REFERENCES,
    metric: str = "accuracy",
    recommended: Sequence[str] = (),
) -> Comparison:
    """All outcomes with 95 % intervals, and each strategy against each reference at the same shots.

    ``metric`` names what gave the scores: ``accuracy`` or ``CIDEr``. CIDEr's document frequencies are those of the
    queries evaluated. ``recommended``: the strategy that the verdict is about, if there is one.

    References that were not evaluated are left out. All outcomes must cover the same queries in the same
    order.
    """
    queries = [[prediction.question_id for prediction in outcome.predictions] for outcome in outcomes]
    if any(own != queries[0] for own in queries):
        raise ValueError("outcomes cover different queries and cannot be compared")
    scores = np.array([outcome.scores for outcome in outcomes])  # [M, n]
    number: dict[int | str, int] = {}  # of an image
    images = [number.setdefault(prediction.image_id, len(number)) for prediction in outcomes[0].predictions]
    index = {(outcome.strategy, outcome.shots): at for at, outcome in enumerate(outcomes)}
    if len(index) < len(outcomes):
        raise ValueError("a strategy occurs twice at the same number of shots")
    top = _top(scores, metric)
    differences = []
    for reference in references:
        for at, outcome in enumerate(outcomes):
            base = index.get((reference, outcome.shots), index.get((reference, 0)))
            if base is None or outcome.strategy == reference or outcome.shots == 0:
                continue
            gain = _difference(scores[at] - scores[base], images, top, metric)
            differences.append(
                DifferenceRow(strategy=outcome.strategy, reference=reference, shots=outcome.shots, difference=gain)
            )
    return Comparison(
        num_queries=len(queries[0]),
        num_images=len(number),
        compare_shots=config.compare_shots,
        seed=config.seed,
        metric=metric,
        recommended=next(iter(recommended), None),
        strategies=tuple(
            StrategyRow(
                strategy=outcome.strategy,
                shots=outcome.shots,
                score=interval(scores[at], images, 0, top),
                copy_rate=outcome.copy_rate,
                gold_shown_rate=outcome.gold_shown_rate,
            )
            for at, outcome in enumerate(outcomes)
        ),
        differences=tuple(differences),
    )


def _top(scores: Floats, metric: str) -> float:
    """The best that a score can be. CIDEr's 10 is only a copy's: the best one seen stands for it."""
    return 1.0 if metric == "accuracy" else max(float(scores.max()), 1e-6)


def _difference(gains: Floats, images: Sequence[int], top: float, metric: str) -> Interval:
    """gains: [n], each in [-top, top]; of CIDEr the largest one seen is the bound, as it is for its scores."""
    seen = float(np.abs(gains).max())
    bound = top if metric == "accuracy" or seen == 0 else seen
    return interval(gains, images, -bound, bound)
