"""Ask the model with every strategy's demonstrations and score each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icd_assets.errors import UserError
from icd_assets.evaluation.selections import ORACLE, Selection
from icd_assets.runtime.progress import OnProgress, counting, ignore
from icd_assets.vlm.prompts import Prompt

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.scoring.metric import Metric
    from icd_assets.vlm.backend import Backend


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer. ``pointer_rows`` are train rows in prompt order; ``demo_answers`` is what was shown there."""

    question_id: int | str
    image_id: int | str
    strategy: str
    shots: int
    pointer_rows: tuple[int, ...]
    demo_answers: tuple[str, ...]
    raw: str
    answer: str
    score: float  # the metric's: VQA accuracy or CIDEr
    copied: bool  # the answer is one of the demonstrations' answers
    gold_shown: bool  # one of the demonstrations' answers is the query's own


@dataclass(frozen=True, slots=True)
class Outcome:
    """All predictions of one strategy at one number of shots, in query order."""

    strategy: str
    shots: int
    predictions: tuple[Prediction, ...]

    @property
    def scores(self) -> list[float]:
        return [prediction.score for prediction in self.predictions]

    @property
    def copy_rate(self) -> float | None:
        """Share of answers that repeat a demonstration's answer; None without demonstrations."""
        return self._share([prediction.copied for prediction in self.predictions])

    @property
    def gold_shown_rate(self) -> float | None:
        """Share of prompts in which a demonstration shows the query's own answer; None without any."""
        return self._share([prediction.gold_shown for prediction in self.predictions])

    def _share(self, marks: list[bool]) -> float | None:
        return sum(marks) / len(marks) if self.shots and marks else None


def evaluate(
    selections: Sequence[Selection],
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    backend: Backend,
    metric: Metric,
    on_progress: OnProgress = ignore,
) -> list[Outcome]:
    """One outcome per selection. Equal prompts of different strategies are asked once, all in one call.

    ``pools``: row of the query → train rows, where a selection has none of its own; ``library``: the train split.
    """
    require_queries(queries)
    covered = [_covered(selection, queries) for selection in selections]
    asked: list[list[tuple[Prompt, tuple[int, ...]]]] = []
    for selection, own in zip(selections, covered, strict=True):
        asked.append([_prompt(selection, query, pools, library) for query in own])
    prompts = list(dict.fromkeys(prompt for built in asked for prompt, _ in built))
    raw = dict(zip(prompts, backend.generate(prompts, counting(on_progress, "prompts")), strict=True))
    answers = [metric.clean(raw[prompt]) for built in asked for prompt, _ in built]
    scores = iter(metric.scores(answers, [query.answers for own in covered for query in own]))
    return [
        Outcome(
            selection.strategy,
            selection.shots,
            tuple(
                _prediction(selection, query, prompt, rows, raw[prompt], next(scores), metric)
                for query, (prompt, rows) in zip(own, built, strict=True)
            ),
        )
        for selection, own, built in zip(selections, covered, asked, strict=True)
    ]


def _covered(selection: Selection, queries: Sequence[VqaItem]) -> Sequence[VqaItem]:
    """The queries that a selection is for: all, but for the oracle's."""
    if selection.strategy != ORACLE:
        return queries
    return [query for query in queries if query.row in selection.pointers]


def require_queries(queries: Sequence[VqaItem]) -> None:
    if not queries:
        raise UserError("there are no validation queries to evaluate; raise TEST_DATA_NUM.")


def _prompt(
    selection: Selection, query: VqaItem, pools: Mapping[int, Sequence[int]], library: Sequence[VqaItem]
) -> tuple[Prompt, tuple[int, ...]]:
    """The prompt and the train rows that it shows."""
    pointer = selection.pointers[query.row]
    own = pools if selection.pools is None else selection.pools
    rows = tuple(own[query.row][place] for place in pointer) if pointer else ()
    shown = [library[row] for row in rows]
    if selection.labels is not None:
        labels = selection.labels[query.row]
        shown = [replace(icd, answer=label) for icd, label in zip(shown, labels, strict=True)]
    return Prompt.of(query, shown), rows


def _prediction(
    selection: Selection,
    query: VqaItem,
    prompt: Prompt,
    rows: tuple[int, ...],
    raw: str,
    score: float,
    metric: Metric,
) -> Prediction:
    answer = metric.clean(raw)
    shown = {metric.normal(shot.answer) for shot in prompt.shots}
    return Prediction(
        question_id=query.question_id,
        image_id=query.image_id,
        strategy=selection.strategy,
        shots=selection.shots,
        pointer_rows=rows,
        demo_answers=tuple(shot.answer for shot in prompt.shots),
        raw=raw,
        answer=answer,
        score=score,
        copied=metric.normal(answer) in shown,
        gold_shown=metric.normal(query.answer) in shown,
    )
