"""RL data: per query the pool, the pointers tried in it, and what the model answered to each (SPEC G.6, G.7).

Field names are the file's own. Files are written and read by :mod:`icd_assets.scoring.rl_file`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.errors import UserError

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem


@dataclass(frozen=True, slots=True)
class AnsweredPointer:
    """One pointer, where it came from, and the labels of the answer that it led to.

    ``behavior_logprob`` is the log-probability under the policy that proposed it (None if no policy did);
    ``round`` counts refreshes of the data by a newer policy.
    """

    pointer: tuple[int, ...]  # [S] positions in the query's pool
    source: str | None = None  # beam | sample | retrieval | random; None in files that do not say
    round: int = 0
    behavior_logprob: float | None = None
    beam_rank: int | None = None
    beam_score: float | None = None
    logprob_score: float | None = None
    temperature: float | None = None
    similarity_score: float | None = None
    vqa_raw_generation: str | None = None
    vqa_pred_answer: str = ""
    vqa_correct: int | None = None
    vqa_acc_score: float | None = None
    vqa_gt_prob: float | None = None
    vqa_rel_token_f1: float | None = None
    vqa_rel_edit_sim: float | None = None
    vqa_rel_score: float | None = None
    vqa_eval_mode: str | None = None  # vqaEval | fallback | error
    eval_split_used: str | None = None
    eval_failed: bool = False
    cider: float | None = None  # captions only, which have none of the vqa labels

    @property
    def positive(self) -> bool:
        """Whether the answer counts as correct; files without the label are read by their accuracy."""
        return bool(self.vqa_acc_score if self.vqa_correct is None else self.vqa_correct)

    @property
    def score(self) -> float | None:
        """What the task's metric gave: CIDEr of a caption, else VQA accuracy."""
        return self.vqa_acc_score if self.cider is None else self.cider


@dataclass(frozen=True, slots=True)
class RlQuery:
    """A query (``row`` of the train split), its pool and candidates; upstream's oldest files lack texts."""

    row: int
    candidate_pool_ids: tuple[int, ...]  # [K] rows
    candidates: tuple[AnsweredPointer, ...]
    question_id: int | None = None
    image_id: int | None = None
    question: str | None = None
    gt_answers_raw: tuple[str, ...] = ()
    gt_answers_norm: tuple[str, ...] = ()

    def rows_of(self, candidate: AnsweredPointer) -> tuple[int, ...]:
        """``pointer_global``: the train rows that a candidate points at."""
        return tuple(self.candidate_pool_ids[position] for position in candidate.pointer)


@dataclass(frozen=True, slots=True)
class RlData:
    """All queries, in the file's order. ``generation`` is the file schema's (SPEC G.7); ours is 4."""

    queries: tuple[RlQuery, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 4


def require_same_questions(path: Path, data: RlData, train: Sequence[VqaItem]) -> None:
    """A file made from another dataset, or another order of its rows, would train on the wrong embeddings."""
    for query in data.queries:
        expected = train[query.row].question_id
        if query.question_id not in (None, expected):
            raise UserError(
                f"{path}: query {query.row} is question {query.question_id}, but row {query.row} of the train "
                f"split is question {expected}; use RL data of this dataset."
            )
