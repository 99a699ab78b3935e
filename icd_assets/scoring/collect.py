"""Ask the model with each proposed pointer's demonstrations and label its answer (SPEC G.4 to G.6).

Deviations from upstream:
1. Pointers are positions in the sampler's pool of the query, not rows of the whole train split (SPEC G.2).
2. Every answer is judged by the task's metric: there is no string fall-back and no failed evaluation.
3. ``vqa_gt_prob`` covers exactly the answer's tokens (SPEC O.2-5), and is null when it was not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.scoring.rl_data import AnsweredPointer, RlQuery
from icd_assets.vlm.backend import Likelihood, Question, Refused
from icd_assets.vlm.prompts import Prompt

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.scoring.metric import Metric
    from icd_assets.selector.proposals import Proposal
    from icd_assets.vlm.backend import Backend


def answer_proposals(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    proposals: Mapping[int, Sequence[Proposal]],
    backend: Backend,
    metric: Metric,
    *,
    gt_prob: bool,
    refresh: int = 0,
    on_progress: OnProgress = ignore,
) -> list[RlQuery]:
    """RL data of a chunk of ``queries``: one model answer per proposal, all asked in one call.

    ``pools`` and ``proposals`` are by query row; ``refresh`` is the round that the pointers belong to. Progress
    counts prompts.
    """
    asked = [(query, proposal) for query in queries for proposal in proposals[query.row]]
    prompts = [
        Prompt.of(query, [library[pools[query.row][place]] for place in proposal.pointer])
        for query, proposal in asked
    ]
    golds = [metric.gold_weights(query.answers) if gt_prob else {} for query, _ in asked]
    raw, probabilities = _replies(prompts, golds, backend, on_progress)
    answers = [metric.clean(text) for text in raw]
    labels = metric.labels(answers, [query.answers for query, _ in asked])
    for text, own in zip(raw, labels, strict=True):
        if isinstance(text, Refused):
            own |= {"eval_failed": True, "vqa_eval_mode": "error"}  # never trained on
    labeled = [
        _labeled(
            proposal, refresh, vqa_raw_generation=text, vqa_pred_answer=answer, vqa_gt_prob=probability, **own
        )
        for (_, proposal), text, answer, probability, own in zip(
            asked, raw, answers, probabilities, labels, strict=True
        )
    ]
    remaining = iter(labeled)
    return [
        RlQuery(
            row=query.row,
            question_id=query.question_id,
            image_id=query.image_id,
            question=query.question,
            gt_answers_raw=query.answers,
            gt_answers_norm=tuple(metric.clean(answer) for answer in query.answers),
            candidate_pool_ids=tuple(pools[query.row]),
            pointers=tuple(next(remaining) for _ in proposals[query.row]),
        )
        for query in queries
    ]


def _labeled(proposal: Proposal, refresh: int, **labels: Any) -> AnsweredPointer:
    return AnsweredPointer(
        pointer=tuple(proposal.pointer),
        source=proposal.source,
        round=refresh,
        behavior_logprob=proposal.behavior_logprob,
        beam_rank=proposal.beam_rank,
        beam_score=proposal.beam_score,
        logprob_score=proposal.logprob_score,
        temperature=proposal.temperature,
        similarity_score=proposal.similarity_score,
        eval_split_used="train",
        **labels,
    )


def _replies(
    prompts: Sequence[Prompt], golds: Sequence[Mapping[str, float]], backend: Backend, on_progress: OnProgress
) -> tuple[list[str], list[float | None]]:
    """Per prompt the model's answer, and Σ_a P(a | prompt)·weight(a) over its query's distinct gold answers (SPEC
    G.6), None without any: asked together, so that one pass over the prompt serves them all."""
    questions = [
        Question(prompt, answer) for prompt, own in zip(prompts, golds, strict=True) for answer in (None, *own)
    ]
    replies = iter(backend.replies(questions, on_progress))
    raw: list[str] = []
    probabilities: list[float | None] = []
    for own in golds:
        raw.append(cast("str", next(replies)))
        scored = [(cast("Likelihood", next(replies)).probability, weight) for weight in own.values()]
        probabilities.append(sum((p * weight for p, weight in scored), start=0.0) if own else None)
    return raw, probabilities
