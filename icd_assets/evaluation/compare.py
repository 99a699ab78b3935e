"""From outcomes to the comparison: every score and every paired difference with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.evaluate import Outcome
from icd_assets.evaluation.paired import holm, paired
from icd_assets.evaluation.report import Comparison, DifferenceRow, Interval, KindRow, StrategyRow
from icd_assets.evaluation.selections import ORACLE
from icd_assets.evaluation.statistics import Floats, interval

REFERENCES = ("zero-shot", "random", "image+text similarity")


def compare(
    outcomes: Sequence[Outcome],
    config: EvaluationConfig,
    references: Sequence[str] = REFERENCES,
    metric: str = "accuracy",
    recommended: Sequence[str] = (),
    *,
    prices: Mapping[str, int] | None = None,
    kinds: Sequence[str] | None = None,
) -> Comparison:
    """All outcomes with 95 % intervals, and each strategy against each reference at the same shots.

    ``metric`` names what gave the scores: ``accuracy`` or ``CIDEr``. CIDEr's document frequencies are those of the
    queries evaluated. ``recommended``: the strategy that the verdict is about, if there is one. ``prices``:
    strategy → the prompts that the training of its selector asked. ``kinds``: each query's kind, in query order,
    if there are any; the scores at the main number of shots are then given by kind too.

    References that were not evaluated are left out. All outcomes must cover the same queries in the same order;
    the oracle may cover some of them, and is compared on those alone.
    """
    scored = [
        Scored(
            outcome.strategy,
            outcome.shots,
            tuple(prediction.question_id for prediction in outcome.predictions),
            tuple(prediction.image_id for prediction in outcome.predictions),
            tuple(outcome.scores),
            outcome.copy_rate,
            outcome.gold_shown_rate,
        )
        for outcome in outcomes
    ]
    return compare_scores(
        scored,
        references,
        compare_shots=config.compare_shots,
        seed=config.seed,
        metric=metric,
        recommended=next(iter(recommended), None),
        prices=prices or {},
        kinds=kinds,
    )


@dataclass(frozen=True, slots=True)
class Scored:
    """What one strategy scored at one number of shots, query by query."""

    strategy: str
    shots: int
    question_ids: tuple[int | str, ...]
    image_ids: tuple[int | str, ...]
    scores: tuple[float, ...]
    copy_rate: float | None
    gold_shown_rate: float | None


def compare_scores(
    scored: Sequence[Scored],
    references: Sequence[str],
    *,
    compare_shots: int,
    seed: int,
    metric: str,
    recommended: str | None,
    prices: Mapping[str, int | None],
    kinds: Sequence[str] | None = None,
) -> Comparison:
    """:func:`compare` of bare scores."""
    table = _Table.of(scored, metric)
    if kinds is not None and len(kinds) != len(table.ids):
        raise ValueError(f"{len(kinds)} kinds for {len(table.ids)} queries")
    index = {(own.strategy, own.shots): at for at, own in enumerate(scored)}
    if len(index) < len(scored):
        raise ValueError("a strategy occurs twice at the same number of shots")
    differences = []
    for reference in references:
        for at, own in enumerate(scored):
            base = index.get((reference, own.shots), index.get((reference, 0)))
            if base is None or own.strategy == reference or own.shots == 0:
                continue
            differences.append(table.difference(own, reference, at, base))
    return Comparison(
        num_queries=len(table.ids),
        num_images=len(set(table.images.tolist())),
        compare_shots=compare_shots,
        seed=seed,
        metric=metric,
        recommended=recommended,
        strategies=tuple(
            StrategyRow(
                strategy=own.strategy,
                shots=own.shots,
                score=table.score(at, table.covered[at]),
                copy_rate=own.copy_rate,
                gold_shown_rate=own.gold_shown_rate,
                num_queries=len(own.scores) if len(own.scores) < len(table.ids) else None,
                prompts=prices.get(own.strategy),
            )
            for at, own in enumerate(scored)
        ),
        differences=_adjusted(differences, compare_shots),
        kinds=tuple(
            KindRow(strategy=own.strategy, kind=kind, num_queries=int(both.sum()), score=table.score(at, both))
            for at, own in enumerate(scored)
            if own.shots in (0, compare_shots)
            for kind, of_kind in _masks(kinds or ())
            if (both := of_kind & table.covered[at]).any()
        ),
    )


@dataclass(frozen=True)
class _Table:
    """All scores [M, n]; NaN where an outcome does not cover a query. images: [n], numbers."""

    scores: Floats
    ids: list[int | str]
    images: NDArray[np.intp]
    metric: str

    @classmethod
    def of(cls, scored: Sequence[Scored], metric: str) -> _Table:
        full = max(scored, key=lambda own: len(own.question_ids))
        ids = list(full.question_ids)
        place = {id: at for at, id in enumerate(ids)}
        scores = np.full((len(scored), len(ids)), np.nan)
        for at, own in enumerate(scored):
            places = [place.get(id, -1) for id in own.question_ids]
            covered = sorted({*places} - {-1}) if own.strategy == ORACLE else list(range(len(ids)))
            if places != covered or not places:
                raise ValueError("outcomes cover different queries and cannot be compared")
            scores[at, places] = own.scores
        number: dict[int | str, int] = {}
        images = [number.setdefault(id, len(number)) for id in full.image_ids]
        return cls(scores, ids, np.array(images, dtype=np.intp), metric)

    @property
    def covered(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.scores)

    def score(self, at: int, among: NDArray[np.bool_]) -> Interval:
        """Of one strategy, over the queries among which it was tried."""
        return interval(self.scores[at][among], self.images[among], self._top)

    def difference(self, own: Scored, reference: str, at: int, base: int) -> DifferenceRow:
        """Paired: over the queries that both cover."""
        both = self.covered[at] & self.covered[base]
        gains = (self.scores[at] - self.scores[base])[both]
        largest = float(np.abs(gains).max())
        bound = self._top if self.metric == "accuracy" or largest == 0 else largest
        found = paired(gains, self.images[both], bound)
        return DifferenceRow(
            strategy=own.strategy,
            reference=reference,
            shots=own.shots,
            difference=found.interval,
            changed=found.changed,
            p_value=found.p_value,
            detectable=found.detectable,
        )

    @property
    def _top(self) -> float:
        """The best that a score can be. CIDEr's 10 is only a copy's: the best one seen stands for it."""
        return 1.0 if self.metric == "accuracy" else max(float(np.nanmax(self.scores)), 1e-6)


def _adjusted(rows: Sequence[DifferenceRow], shots: int) -> tuple[DifferenceRow, ...]:
    """With Holm's p-values over the family that the main table prints."""
    family = [at for at, row in enumerate(rows) if row.shots == shots]
    p_values = holm([rows[at].p_value or 0.0 for at in family])
    found = dict(zip(family, p_values, strict=True))
    return tuple(row.model_copy(update={"p_holm": found.get(at)}) for at, row in enumerate(rows))


def _masks(kinds: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Each kind with the queries of it [n], the most frequent first."""
    array = np.array(kinds)
    return [(kind, array == kind) for kind, _ in sorted(Counter(kinds).items(), key=lambda it: (-it[1], it[0]))]


def kinds_of(question_types: Sequence[str], answer_types: Sequence[str]) -> list[str] | None:
    """Each query's kind: its question type where there are 2 to 12, or its answer type; None if neither."""
    for kinds in (question_types, answer_types):
        if 2 <= len(set(kinds)) <= _MOST_KINDS:
            return [kind or "other" for kind in kinds]
    return None


_MOST_KINDS = 12
