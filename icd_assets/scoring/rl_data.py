"""RL data: per query the pool, the pointers tried in it, and what the model answered to each (SPEC G.6, G.7).

The fields are the file's schema: their names (or serialization aliases) are its keys, and it is written in their
order. :mod:`icd_assets.scoring.rl_file` reads and writes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from icd_assets.errors import UserError
from icd_assets.pools.rl_queries import Role

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem

# JSON has lists where we have tuples; what they hold stays strict.
Integers = Annotated[tuple[int, ...], Field(strict=False)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class _Row(BaseModel):
    """Strict: ``true`` is no number, a text is none either, and no number is NaN or infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class AnsweredPointer(_Row):
    """One pointer, where it came from, and the labels of the answer that it led to.

    A file has two more keys after ``pointer``, for upstream's readers: ``pointer_global``, the rows that it points
    at, and ``gen_method``, its ``source`` again.
    """

    pointer: Integers = Field(
        min_length=1, description="Positions of the demonstrations in the query's pool, in prompt order."
    )
    source: str | None = Field(
        None, description="What proposed the pointer: beam, sample, retrieval or random; null: not recorded."
    )
    round: int = Field(0, ge=0, description="How often the data had been refreshed by a newer policy.")
    behavior_logprob: float | None = Field(
        None, description="Log-probability under the policy that proposed the pointer; null: no policy did."
    )
    beam_rank: int | None = Field(None, description="Rank among the query's beams, 0 the best; beam only.")
    beam_score: float | None = Field(None, description="Sum of the picks' probabilities; beam only.")
    logprob_score: float | None = Field(
        None, description="Log-probability under the beam's or the tempered sampler's distribution."
    )
    temperature: float | None = Field(None, description="Sampling temperature; sample only.")
    similarity_score: float | None = Field(
        None, description="Mean cosine similarity of the query and the demonstrations."
    )
    vqa_raw_generation: str | None = Field(None, description="What the model wrote, as it wrote it.")
    vqa_pred_answer: str = Field("", description="The answer within what the model wrote.")
    vqa_correct: int | None = Field(
        None, ge=0, le=1, description="1 if the accuracy is above 0, else 0; null for captions."
    )
    vqa_acc_score: float | None = Field(None, ge=0, le=1, description="VQA accuracy; null for captions.")
    vqa_gt_prob: float | None = Field(
        None, description="Weighted sum of the gold answers' probabilities; null: not asked for."
    )
    vqa_rel_token_f1: float | None = Field(
        None, description="Best F1 of the tokens of the answer and of a gold answer, in [0, 1]."
    )
    vqa_rel_edit_sim: float | None = Field(
        None, description="Best string similarity of the answer and a gold answer, in [0, 1]."
    )
    vqa_rel_score: float | None = Field(
        None, description="Relevance of the answer: the larger of the two similarities."
    )
    vqa_eval_mode: Literal["vqaEval", "fallback", "error"] | None = Field(
        None, description="What judged the answer: the VQA metric, a string comparison, or nothing (error)."
    )
    eval_split_used: str | None = Field(None, description="Split whose gold answers judged the answer.")
    eval_failed: bool = Field(
        False, description="Whether the answer could not be judged; such pointers never count."
    )
    cider: float | None = Field(
        None, ge=0, le=10, description="CIDEr of a caption; VQA data have no such key, captions no VQA label."
    )
    not_finite: frozenset[str] = Field(
        frozenset(), exclude=True, description="Fields that the file has as NaN or infinite; they are null here."
    )

    @property
    def positive(self) -> bool:
        """Whether the answer counts as correct; files without the label are read by their accuracy."""
        return bool(self.vqa_acc_score if self.vqa_correct is None else self.vqa_correct)

    @property
    def score(self) -> float | None:
        """What the task's metric gave: CIDEr of a caption, else VQA accuracy."""
        return self.vqa_acc_score if self.cider is None else self.cider


class RlQuery(_Row):
    """A query, its pool, and the pointers tried in it. A file nests what is before the pool under ``query``."""

    row: int = Field(ge=0, serialization_alias="query_id", description="Row of the query in the train split.")
    question_id: int | str | None = Field(None, description="The dataset's own id of the question.")
    image_id: int | None = Field(None, description="The dataset's own id of the image.")
    role: Role | None = Field(
        None, description="Whether the query is to train or to validate; no such key: the last by row validate."
    )
    question: str | None = Field(None, description="The question; empty for captions, null in the oldest files.")
    gt_answers_raw: Texts = Field((), description="Gold answers (captions: references) as the dataset has them.")
    gt_answers_norm: Texts = Field((), description="The same, cleaned as the model's answers are.")
    candidate_pool_ids: Integers = Field(
        description="The query's pool: train rows, whose positions pointers hold."
    )
    pointers: tuple[AnsweredPointer, ...] = Field(
        serialization_alias="pointer_candidates", description="The pointers tried, each with its answer's labels."
    )
    prefixes: tuple[AnsweredPointer, ...] = Field(
        (),
        serialization_alias="prefix_candidates",
        description="What the pointers begin with, of fewer demonstrations, likewise; no such key: not asked for.",
    )

    def rows_of(self, answered: AnsweredPointer) -> tuple[int, ...]:
        """``pointer_global``: the train rows that a pointer points at."""
        return tuple(self.candidate_pool_ids[position] for position in answered.pointer)


@dataclass(frozen=True, slots=True)
class RlData:
    """All queries, in the file's order. ``generation`` is the file schema's (SPEC G.7); ours is 4."""

    queries: tuple[RlQuery, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 4
    converted: Mapping[str, int] = field(default_factory=dict)  # field → how often it was of another type

    @property
    def not_finite(self) -> dict[str, int]:
        """Field → in how many pointers it is NaN or infinite."""
        found = Counter(
            name
            for query in self.queries
            for answered in (*query.pointers, *query.prefixes)
            for name in answered.not_finite
        )
        return dict(sorted(found.items()))

    @property
    def held_out(self) -> frozenset[int] | None:
        """The rows of the queries to validate; None: the data do not say."""
        if all(query.role is None for query in self.queries):
            return None
        return frozenset(query.row for query in self.queries if query.role == "validation")

    def repairs(self) -> str:
        """What was read otherwise than the file has it, in words; empty if nothing was."""
        kinds = (("converted", self.converted), ("left out as not finite", self.not_finite))
        return "; ".join(
            f"{what}: {', '.join(f'{name} {count} times' for name, count in found.items())}"
            for what, found in kinds
            if found
        )


def require_same_questions(path: Path, data: RlData, train: Sequence[VqaItem]) -> None:
    """A file made from another dataset, or another order of its rows, would train on the wrong embeddings."""
    for query in data.queries:
        expected = train[query.row].question_id
        if query.question_id is not None and str(query.question_id) != str(expected):  # "12" is 12
            raise UserError(
                f"{path}: query {query.row} is question {query.question_id}, but row {query.row} of the train "
                f"split is question {expected}; use RL data of this dataset."
            )
