"""Rewards made comparable within a query (SPEC I). Legend: `B` queries, `N` pointers; ``mask`` marks real ones.

Deviations from upstream:
1. A query without variance is normalized to zeros (``constant="zero"``); upstream leaves the raw rewards.
2. Equal rewards share their mean rank; upstream's order of ties is that of an unstable sort.
"""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from icd_assets.selector.config import ConstantGroup, Normalization


def normalize_rewards(
    rewards: Tensor,
    mask: Tensor,
    method: Normalization = "z_score_clamp",
    clamp: float = 3.0,
    constant: ConstantGroup = "zero",
) -> Tensor:
    """rewards, mask: [B, N] → [B, N]; 0 where masked."""
    centered = center(rewards, mask)  # [B, N]
    std = standard_deviation(centered, mask)  # [B, 1]
    match method:
        case "rank_normalize":
            return rank_scale(rewards, mask)
        case "z_score":
            normalized = centered / std
        case "z_score_clamp":
            normalized = (centered / std).clamp(-clamp, clamp)
        case _:
            assert_never(method)
    match constant:
        case "raw":
            fallback = rewards
        case "zero":
            fallback = torch.zeros_like(rewards)
        case _:
            assert_never(constant)
    return torch.where(std > 1e-12, normalized, fallback) * mask  # false for the NaN of a single pointer, too


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over real pointers; [B, N] → [B, 1]. A query always has one."""
    return (values * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)


def center(values: Tensor, mask: Tensor) -> Tensor:
    """Minus the query's mean, and 0 where masked; [B, N] → [B, N]."""
    return (values - masked_mean(values, mask)) * mask


def standard_deviation(centered: Tensor, mask: Tensor) -> Tensor:
    """Unbiased; centered [B, N] → [B, 1]; NaN for a single pointer."""
    return (centered.square().sum(-1, keepdim=True) / (mask.sum(-1, keepdim=True) - 1)).sqrt()


def rank_scale(rewards: Tensor, mask: Tensor) -> Tensor:
    """1 for the best … −1 for the worst, 1 − 2·rank/(n−1) (SPEC K.3-2); 0 for a single pointer. [B, N] → [B, N]"""
    pairs = mask.unsqueeze(1) & mask.unsqueeze(2)  # [B, N, N]
    better = ((rewards.unsqueeze(1) > rewards.unsqueeze(2)) & pairs).sum(-1)
    ties = ((rewards.unsqueeze(1) == rewards.unsqueeze(2)) & pairs).sum(-1)
    rank = better + (ties - 1) / 2
    others = (mask.sum(-1, keepdim=True) - 1).clamp(min=1)
    return torch.where(mask.sum(-1, keepdim=True) > 1, 1 - 2 * rank / others, 0.0) * mask
