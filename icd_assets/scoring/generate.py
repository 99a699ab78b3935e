"""Ask the model with each proposed pointer's demonstrations and label its answer (SPEC G.4 to G.6).

Deviations from upstream:
1. Pointers are positions in the sampler's pool of the query, not rows of the whole train split (SPEC G.2).
2. Every answer is judged by the metric, in memory: there is no string fall-back and no failed evaluation.
3. ``vqa_gt_prob`` covers exactly the answer's tokens (SPEC O.2-5), and is null when it was not asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from icd_assets.progress import OnProgress, ignore
from icd_assets.scoring.relevance import relevance
from icd_assets.scoring.rl_data import RlCandidate, RlQuery
from icd_assets.scoring.vqa_metric import postprocess, vqa_accuracy
from icd_assets.vlm.prompts import Prompt

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.selector.proposals import Proposal
    from icd_assets.vlm.backend import Backend


def answer_proposals(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    proposals: Mapping[int, Sequence[Proposal]],
    backend: Backend,
    *,
    gt_prob: bool,
    refresh: int = 0,
    on_progress: OnProgress = ignore,
) -> list[RlQuery]:
    """RL data of a chunk of ``queries``: one model answer per proposal, all asked in one call.

    ``pools`` and ``proposals`` are by query row; ``refresh`` is the round that the candidates belong to.
    """
    asked = [(query, proposal) for query in queries for proposal in proposals[query.row]]
    prompts = [
        Prompt.of(query, [library[pools[query.row][place]] for place in proposal.pointer])
        for query, proposal in asked
    ]
    raw = backend.generate(prompts, on_progress)
    probabilities: list[float | None] = [None] * len(asked)
    if gt_prob:
        probabilities = [*_gt_probabilities([query for query, _ in asked], prompts, backend)]
    labeled = [
        _labeled(query, proposal, text, probability, refresh)
        for (query, proposal), text, probability in zip(asked, raw, probabilities, strict=True)
    ]
    remaining = iter(labeled)
    return [
        RlQuery(
            row=query.row,
            candidate_pool_ids=tuple(pools[query.row]),
            candidates=tuple(next(remaining) for _ in proposals[query.row]),
            question_id=query.question_id,
            image_id=query.image_id,
            question=query.question,
            gt_answers_raw=query.answers,
            gt_answers_norm=tuple(postprocess(answer) for answer in query.answers),
        )
        for query in queries
    ]


def _labeled(
    query: VqaItem, proposal: Proposal, raw: str, gt_probability: float | None, refresh: int
) -> RlCandidate:
    answer = postprocess(raw)
    accuracy = vqa_accuracy(answer, query.answers)
    near = relevance(answer, [postprocess(gold) for gold in query.answers])
    return RlCandidate(
        pointer=tuple(proposal.pointer),
        source=proposal.source,
        round=refresh,
        behavior_logprob=proposal.behavior_logprob,
        beam_rank=proposal.beam_rank,
        beam_score=proposal.beam_score,
        logprob_score=proposal.logprob_score,
        temperature=proposal.temperature,
        similarity_score=proposal.similarity_score,
        vqa_raw_generation=raw,
        vqa_pred_answer=answer,
        vqa_correct=int(accuracy > 0),
        vqa_acc_score=accuracy,
        vqa_gt_prob=gt_probability,
        vqa_rel_token_f1=near.token_f1,
        vqa_rel_edit_sim=near.edit_similarity,
        vqa_rel_score=near.score,
        vqa_eval_mode="vqaEval",
        eval_split_used="train",
    )


def _gt_probabilities(queries: Sequence[VqaItem], prompts: Sequence[Prompt], backend: Backend) -> list[float]:
    """Per prompt Σ_a P(a | prompt)·min(count(a)/3, 1) over its query's distinct gold answers (SPEC G.6)."""
    weights = []
    for query in queries:
        counts = Counter(postprocess(answer) for answer in query.answers)
        weights.append({answer: min(n / 3, 1.0) for answer, n in counts.items() if answer.strip()})
    likelihoods = iter(
        backend.answer_likelihoods(
            [prompt for prompt, own in zip(prompts, weights, strict=True) for _ in own],
            [answer for own in weights for answer in own],
        )
    )
    return [sum((next(likelihoods).probability * weight for weight in own.values()), start=0.0) for own in weights]
