"""What a task's answers are judged by: one interface for VQA accuracy and for CIDEr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from icd_assets.scoring.relevance import relevance
from icd_assets.scoring.vqa_metric import normalize, postprocess, vqa_accuracy


class Metric(Protocol):
    """Judges many answers at once; an answer's score does not depend on the others of the call."""

    @property
    def name(self) -> str:
        """As tables print it."""
        ...

    def clean(self, raw: str) -> str:
        """The answer within what the model wrote."""
        ...

    def normal(self, answer: str) -> str:
        """The form in which two answers count as the same."""
        ...

    def scores(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        """One score per cleaned answer against the gold answers of its query."""
        ...

    def labels(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """The same as fields of an :class:`icd_assets.scoring.rl_data.AnsweredPointer`."""
        ...


class VqaAccuracy:
    """The official accuracy, in [0, 1] (SPEC H)."""

    name = "accuracy"

    def clean(self, raw: str) -> str:
        return postprocess(raw)

    def normal(self, answer: str) -> str:
        return normalize(answer)

    def scores(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        return [vqa_accuracy(answer, golds) for answer, golds in zip(answers, references, strict=True)]

    def labels(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        labels = []
        scores = self.scores(answers, references)
        for answer, golds, accuracy in zip(answers, references, scores, strict=True):
            near = relevance(answer, [postprocess(gold) for gold in golds])
            labels.append(
                {
                    "vqa_correct": int(accuracy > 0),
                    "vqa_acc_score": accuracy,
                    "vqa_rel_token_f1": near.token_f1,
                    "vqa_rel_edit_sim": near.edit_similarity,
                    "vqa_rel_score": near.score,
                    "vqa_eval_mode": "vqaEval",
                }
            )
        return labels
