"""From RL data to what training sees: the filters of SPEC I.

A row is one query's pointers of one number of shots.

Deviations from upstream:
1. ``require_positive`` asks whether an answer is correct; upstream asks whether its reward is ≥ 1, which is
   another question in most reward modes and weights (SPEC O.2-12).
2. A reward mode that needs ``vqa_gt_prob`` or ``cider`` is refused for RL data without it; upstream takes 0.
3. Pools keep their size; upstream cuts them to the first 64 ids after mapping pointers into them.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One query's group. `K` pool, `N` pointers, `S` shots."""

    query_row: int
    pool_ids: tuple[int, ...]  # [K]
    pointers: tuple[tuple[int, ...], ...]  # [N, S] positions in the pool
    rewards: tuple[float, ...]  # [N] raw
    behavior_logprobs: tuple[float | None, ...]  # [N]
    held_out: bool | None = None  # whether the query is to validate; None: the data do not say


def training_rows(
    data: RlData,
    config: RewardConfig,
    *,
    skip_fallback: bool = True,
    require_positive: bool = False,
    prefixes: bool = False,
) -> list[TrainingRow]:
    """The usable pointers of each query, in order; a query without any is left out.

    ``prefixes``: before them what they begin with, where it was answered, in a row for each number of shots.
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
        for answered in _by_shots(query, prefixes):
            usable = [found for found in answered if _usable(found, skip_fallback) and computable(found, config)]
            _require_labels(query.row, usable, config)
            if not usable or (require_positive and not any(found.positive for found in usable)):
                continue
            rows.append(
                TrainingRow(
                    query_row=query.row,
                    pool_ids=query.candidate_pool_ids,
                    pointers=tuple(found.pointer for found in usable),
                    rewards=tuple(reward(found, config) for found in usable),
                    behavior_logprobs=tuple(found.behavior_logprob for found in usable),
                    held_out=None if query.role is None else query.role == "validation",
                )
            )
    return rows


def _by_shots(query: RlQuery, prefixes: bool) -> list[list[AnsweredPointer]]:
    """The pointers, by their number of shots, the fewest first."""
    found: dict[int, list[AnsweredPointer]] = {}
    for answered in (*(query.prefixes if prefixes else ()), *query.pointers):
        found.setdefault(len(answered.pointer), []).append(answered)
    return [found[shots] for shots in sorted(found)]


def _require_labels(row: int, usable: Sequence[AnsweredPointer], config: RewardConfig) -> None:
    if needs_gt_prob(config) and any(answered.vqa_gt_prob is None for answered in usable):
        raise UserError(
            f"reward mode {config.mode} needs vqa_gt_prob, but query {row} of the RL data has none; "
            "make the RL data with rl_data.gt_prob=true, or take another mode."
        )
    if needs_cider(config) and any(answered.cider is None for answered in usable):
        raise UserError(
            f"reward mode {config.mode} needs 'cider', but query {row} of the RL data has a pointer "
            "without; make the RL data again."
        )


def _usable(answered: AnsweredPointer, skip_fallback: bool) -> bool:
    if answered.eval_failed or answered.vqa_eval_mode == "error":
        return False
    return not (skip_fallback and answered.vqa_eval_mode == "fallback")
