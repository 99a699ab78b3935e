"""What a task's answers are judged by: one interface for all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


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

    def gold_weights(self, golds: Sequence[str]) -> dict[str, float]:
        """Per distinct gold answer, how much of its likelihood counts in ``vqa_gt_prob``.

        Raises ValueError for a task that has no such label.
        """
        ...
