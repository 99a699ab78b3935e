"""What a selector trains on, from what was scored: one group of pointers per query and number of shots.

Legend: `N` pointers, `S` shots, `K` pool, `D` embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from icd_assets.scoring.infoscore import QueryBeams
from icd_assets.scoring.rewards import RewardConfig
from icd_assets.scoring.rl_data import RlData
from icd_assets.scoring.step_labels import StepLabels
from icd_assets.scoring.training_rows import training_rows
from icd_assets.selector.groups import DenseGroup, PointerGroup, RewardGroup


def groups_of_beams(
    beams: Mapping[int, QueryBeams], pools: Mapping[int, Sequence[int]], embeddings: Mapping[int, Tensor]
) -> list[PointerGroup]:
    """For SFT: a query's beams as positions in its pool, their scores as rewards; by ascending row.

    embeddings: row → [D], of every query and of every row in its pool. Each row that a beam names must be in the
    query's pool (:func:`icd_assets.scoring.beam_file.require_in_pools`).
    """
    groups = []
    table, places = torch.stack([*embeddings.values()]), {row: place for place, row in enumerate(embeddings)}
    for row, found in sorted(beams.items()):
        pool = list(pools[row])
        groups.append(
            PointerGroup(
                query_row=row,
                query=embeddings[row],
                table=table,
                pool=torch.tensor([places[id] for id in pool]),
                pointers=torch.tensor([[pool.index(id) for id in beam.icds] for beam in found.beams]),
                rewards=torch.tensor([beam.score for beam in found.beams]),
            )
        )
    return groups


def groups_of_rl_data(
    data: RlData,
    reward: RewardConfig,
    embeddings: Tensor,
    *,
    skip_fallback: bool = True,
    require_positive: bool = False,
    prefixes: bool = False,
) -> list[PointerGroup]:
    """For RCE and GRPO: the usable pointers of each query under ``reward`` (SPEC I), in the data's order.

    embeddings: [n, D], one per row of the train split. The two filters, and ``prefixes``, which gives groups of
    fewer shots too, are those of :func:`icd_assets.scoring.training_rows.training_rows`.
    """
    groups = []
    rows = training_rows(
        data, reward, skip_fallback=skip_fallback, require_positive=require_positive, prefixes=prefixes
    )
    for row in rows:
        # Imported files may name no behavior policy; importance ratios need it of all pointers of a query.
        known = all(value is not None for value in row.behavior_logprobs)
        groups.append(
            PointerGroup(
                query_row=row.query_row,
                query=embeddings[row.query_row],
                table=embeddings,
                pool=torch.tensor(row.pool_ids),
                pointers=torch.tensor(row.pointers),
                rewards=torch.tensor(row.rewards),
                behavior_logprobs=torch.tensor(row.behavior_logprobs) if known else None,
                held_out=row.held_out,
            )
        )
    return groups


def dense_groups(
    labels: Mapping[int, Sequence[StepLabels]], pools: Mapping[int, Sequence[int]]
) -> list[DenseGroup]:
    """A query's step labels; of prefixes with which every prompt was refused nothing is learned."""
    groups = []
    for row, steps in labels.items():
        known = [(step.prefix, step.values) for step in steps if any(value is not None for value in step.values)]
        if known:
            groups.append(DenseGroup.of(row, pools[row], known))
    return groups


def reward_groups(data: RlData, reward: RewardConfig, *, skip_fallback: bool = True) -> list[RewardGroup]:
    """The usable pointers of each query under ``reward``, and what they begin with, by number of shots."""
    rows = training_rows(data, reward, skip_fallback=skip_fallback, prefixes=True)
    return [
        RewardGroup(row.query_row, row.pool_ids, torch.tensor(row.pointers), torch.tensor(row.rewards))
        for row in rows
    ]
