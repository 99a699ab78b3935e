"""From RL data to what training sees: the filters of SPEC I.

Deviations from upstream:
1. ``require_positive`` asks whether an answer is correct; upstream asks whether its reward is ≥ 1, which is
   another question in most reward modes and weights (SPEC O.2-12).
2. A reward mode that needs ``vqa_gt_prob`` or ``cider`` is refused for RL data without it; upstream takes 0.
3. Pools keep their size; upstream cuts them to the first 64 ids after mapping pointers into them.
"""

from __future__ import annotations

from dataclasses import dataclass

from icd_assets.errors import UserError
from icd_assets.scoring.rewards import (
    RewardConfig,
    computable,
    knows_correct,
    needs_cider,
    needs_gt_prob,
    reward,
)
from icd_assets.scoring.rl_data import AnsweredPointer, RlData


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One query's group. `K` pool, `N` pointers, `S` shots."""

    query_row: int
    pool_ids: tuple[int, ...]  # [K]
    pointers: tuple[tuple[int, ...], ...]  # [N, S] positions in the pool
    rewards: tuple[float, ...]  # [N] raw
    behavior_logprobs: tuple[float | None, ...]  # [N]


def training_rows(
    data: RlData, config: RewardConfig, *, skip_fallback: bool = True, require_positive: bool = False
) -> list[TrainingRow]:
    """The usable pointers of each query, in order; a query without any is left out.

    Pointers whose evaluation failed never count, nor those of which a label that the reward reads is not finite;
    ``skip_fallback`` also drops those that were judged by string comparison instead of the metric. Groups without
    variance stay: the losses count and skip them.
    """
    if require_positive and not knows_correct(config):
        raise UserError(
            f"REQUIRE_POSITIVE_QUERY asks for correct answers, but reward mode {config.mode} knows none; unset it."
        )
    rows = []
    for query in data.queries:
        usable = [found for found in query.pointers if _usable(found, skip_fallback) and computable(found, config)]
        if needs_gt_prob(config) and any(answered.vqa_gt_prob is None for answered in usable):
            raise UserError(
                f"reward mode {config.mode} needs vqa_gt_prob, but query {query.row} of the RL data has none; "
                "make the RL data with rl_data.gt_prob=true, or take another mode."
            )
        if needs_cider(config) and any(answered.cider is None for answered in usable):
            raise UserError(
                f"reward mode {config.mode} needs 'cider', but query {query.row} of the RL data has a pointer "
                "without; make the RL data again."
            )
        if not usable or (require_positive and not any(answered.positive for answered in usable)):
            continue
        rows.append(
            TrainingRow(
                query_row=query.row,
                pool_ids=query.candidate_pool_ids,
                pointers=tuple(answered.pointer for answered in usable),
                rewards=tuple(reward(answered, config) for answered in usable),
                behavior_logprobs=tuple(answered.behavior_logprob for answered in usable),
            )
        )
    return rows


def _usable(answered: AnsweredPointer, skip_fallback: bool) -> bool:
    if answered.eval_failed or answered.vqa_eval_mode == "error":
        return False
    return not (skip_fallback and answered.vqa_eval_mode == "fallback")
