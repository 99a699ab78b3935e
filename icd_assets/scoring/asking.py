"""Ask the VLM about demonstrations given as rows: how likely the gold answer is, or how well it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from icd_assets.runtime.progress import OnProgress
from icd_assets.vlm.backend import Refused
from icd_assets.vlm.prompts import Prompt

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.scoring.metric import Metric
    from icd_assets.vlm.backend import Backend

Asked = tuple["VqaItem", tuple[int, ...]]  # a query, and the demonstrations' rows in prompt order


class Asker:
    """Asks many prompts a call; ``on_progress`` counts all of them, out of ``total``."""

    def __init__(self, library: Sequence[VqaItem], backend: Backend, on_progress: OnProgress, total: int) -> None:
        self._library = library
        self._backend = backend
        self._on_progress = on_progress
        self._total = total
        self._done = 0

    def probabilities(self, asked: Sequence[Asked]) -> list[float]:
        """P(y | icds, x) = exp of the mean log-probability of the tokens of the query's gold answer y."""
        answers = [query.answer for query, _ in asked]
        found = self._backend.answer_likelihoods(self._prompts(asked), answers, self._report)
        self._done += len(asked)
        return [likelihood.probability for likelihood in found]

    def scores(self, asked: Sequence[Asked], metric: Metric) -> list[float | None]:
        """What ``metric`` gives the model's answers; None where the server refused the prompt."""
        raw = self._backend.generate(self._prompts(asked), self._report)
        self._done += len(asked)
        answers = [metric.clean(text) for text in raw]
        scores = metric.scores(answers, [query.answers for query, _ in asked])
        return [None if isinstance(text, Refused) else score for text, score in zip(raw, scores, strict=True)]

    def _prompts(self, asked: Sequence[Asked]) -> list[Prompt]:
        return [Prompt.of(query, [self._library[row] for row in icds]) for query, icds in asked]

    def _report(self, done: int, _: int) -> None:
        self._on_progress(min(self._done + done, self._total), self._total)
