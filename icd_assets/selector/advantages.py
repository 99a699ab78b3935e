"""How much better than its group a pointer did (SPEC K.3, items 1 and 2).

Legend: `B` queries, `N` pointers; ``mask`` [B, N] marks real ones.

Deviations from upstream, each with its switch:
1. Advantages come from the whole group before any top-k (``topk_before_advantage``): among the best few alone
   nothing negative is left, and often nothing at all.
2. Leave-one-out baseline (RLOO, arXiv 2402.14740): centered × n/(n−1) (``baseline``).
3. No division by the standard deviation (Dr. GRPO, arXiv 2503.20783), which inflates near-ties (``scale``).
4. Ties at the top-k border go to the pointer stored first (``topk_ties``); upstream takes what ``torch.topk``
   happens to return, which is neither the first nor the last of them.
"""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from icd_assets.selector.config import Baseline, Scale, TopKTies
from icd_assets.selector.reward_normalization import center, rank_scale, standard_deviation


def advantages(
    rewards: Tensor,
    mask: Tensor,
    *,
    baseline: Baseline = "leave_one_out",
    scale: Scale = "none",
    std_floor: float = 0.1,
    clip: float = 5.0,
    rank: bool = False,
) -> Tensor:
    """rewards, mask: [B, N] → [B, N], 0 where masked.

    A single pointer has advantage 0, but NaN under ``scale="group"``, as upstream (SPEC P.7): leave such
    groups out.
    """
    if rank:
        return rank_scale(rewards, mask)
    centered = center(rewards, mask)  # [B, N]
    count = mask.sum(-1, keepdim=True)  # [B, 1]
    match baseline:
        case "mean":
            values = centered
        case "leave_one_out":  # R − mean of the others = (R − mean of all)·n/(n−1)
            values = centered * count / (count - 1).clamp(min=1)
        case _:
            assert_never(baseline)
    match scale:
        case "none":
            pass
        case "group":
            # The floor keeps a near-tie from becoming as large a lesson as a clear win.
            values = values / standard_deviation(centered, mask).clamp(min=std_floor)
        case "batch":
            freedom = (count - 1).clamp(min=0).sum().clamp(min=1)  # pooled over the batch's groups
            values = values / (centered.square().sum() / freedom).sqrt().clamp(min=std_floor)
        case _:
            assert_never(scale)
    return values.clamp(-clip, clip) * mask


def top_k(rewards: Tensor, mask: Tensor, k: int, ties: TopKTies = "first") -> Tensor:
    """Mask [B, N] of the k real pointers of highest reward in each query; all of them if k is 0."""
    if k == 0:
        return mask
    match ties:
        case "first":
            # Padding sorts last, but is among the first k of a query with fewer pointers: hence the "& mask".
            ranked = rewards.masked_fill(~mask, -torch.inf).sort(dim=-1, descending=True, stable=True).indices
            kept = torch.zeros_like(mask).scatter(1, ranked[:, :k], True)
            return kept & mask
        case "torch":
            return _torch_top_k(rewards, mask, k)
        case _:
            assert_never(ties)


def _torch_top_k(rewards: Tensor, mask: Tensor, k: int) -> Tensor:
    """By query and without padding, which would change the choice among ties; on the CPU: a GPU takes others."""
    kept = torch.zeros_like(mask)
    for row, real in enumerate(mask):
        places = real.nonzero().squeeze(-1)  # [n]
        chosen = rewards[row, places].cpu().topk(min(k, len(places))).indices
        kept[row, places[chosen.to(places.device)]] = True
    return kept
