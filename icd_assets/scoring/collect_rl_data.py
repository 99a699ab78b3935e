"""RL data of many queries, a chunk at a time: propose pointers, ask the VLM with each, label its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from icd_assets.runtime.progress import OnProgress, counting, ignore, within
from icd_assets.scoring.chunks import map_chunks
from icd_assets.scoring.collect import answer_proposals
from icd_assets.scoring.rl_data import RlQuery
from icd_assets.selector.proposals import propose

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.scoring.metric import Metric
    from icd_assets.selector.config import ProposalConfig
    from icd_assets.selector.model import PointerSelector
    from icd_assets.vlm.backend import Backend


def collect_rl_data(
    policy: PointerSelector,
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    embeddings: Tensor,
    backend: Backend,
    metric: Metric,
    config: ProposalConfig,
    *,
    gt_prob: bool = False,
    chunk: int = 64,
    on_progress: OnProgress = ignore,
) -> list[RlQuery]:
    """RL data of every query of ``pools`` (row → rows of ``library``), by ascending row.

    embeddings: [n, D], one per row of ``library``. gt_prob: also ask for the likelihood of the gold answers.
    ``chunk`` queries are asked about at once; it decides the speed and nothing else. Progress counts queries.
    """
    on_progress = counting(on_progress, "questions", len(pools))
    of_chunk = partial(
        rl_data_of_chunk,
        policy=policy,
        pools=pools,
        library=library,
        embeddings=embeddings,
        backend=backend,
        metric=metric,
        config=config,
        gt_prob=gt_prob,
        on_progress=on_progress,
    )
    return map_chunks(of_chunk, sorted(pools), chunk, on_progress)


def rl_data_of_chunk(
    rows: Sequence[int],
    policy: PointerSelector,
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    embeddings: Tensor,
    backend: Backend,
    metric: Metric,
    config: ProposalConfig,
    gt_prob: bool,
    on_progress: OnProgress = ignore,
) -> list[RlQuery]:
    """RL data of the B queries ``rows``: what :mod:`icd_assets.scoring.chunks` says of such a function holds."""
    candidates = torch.tensor([list(pools[row]) for row in rows])  # [B, K]
    proposals = propose(policy, rows, embeddings[list(rows)], embeddings[candidates], config)
    return answer_proposals(
        [library[row] for row in rows],
        pools,
        library,
        proposals,
        backend,
        metric,
        gt_prob=gt_prob,
        on_progress=within(on_progress, len(rows), "prompts"),
    )
