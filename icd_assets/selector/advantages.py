"""How much better than its group a pointer did (SPEC K.3, items 1 and 2).

Legend: `B` queries, `N` pointers; ``mask`` [B, N] marks real ones.

Deviations from upstream, each with its switch:
1. Advantages come from the whole group before any top-k (``topk_before_advantage``): among the best few alone
   nothing negative is left, and often nothing at all.
2. Leave-one-out baseline (RLOO, arXiv 2402.14740): centered × n/(n−1) (``baseline``).
3. No division by the standard deviation (Dr. GRPO, arXiv 2503.20783), which inflates near-ties (``scale``).
4. Ties at the top-k border go to the pointer stored first; upstream's topk leaves that open.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from icd_assets.selector.normalization import center, rank_scale, standard_deviation


def advantages(
    rewards: Tensor,
    mask: Tensor,
    *,
    baseline: Literal["mean", "leave_one_out"] = "leave_one_out",
    scale: Literal["none", "group", "batch"] = "none",
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
    values = center(rewards, mask)
    std = standard_deviation(values, mask)
    count = mask.sum(-1, keepdim=True)
    if baseline == "leave_one_out":
        values = values * count / (count - 1).clamp(min=1)
    if scale == "group":
        values = values / std.clamp(min=std_floor)
    elif scale == "batch":
        freedom = (count - 1).clamp(min=0).sum().clamp(min=1)  # pooled over the batch's groups
        values = values / (center(rewards, mask).square().sum() / freedom).sqrt().clamp(min=std_floor)
    return values.clamp(-clip, clip) * mask


def top_k(rewards: Tensor, mask: Tensor, k: int) -> Tensor:
    """Mask [B, N] of the k real pointers of highest reward in each query; all of them if k is 0."""
    if k == 0:
        return mask
    ranked = rewards.masked_fill(~mask, -torch.inf).sort(dim=-1, descending=True, stable=True).indices
    kept = torch.zeros_like(mask).scatter(1, ranked[:, :k], True)
    return kept & mask
