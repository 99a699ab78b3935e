"""Losses over pointers: supervised, dense, expected reward, reward-weighted (RCE) and clipped policy gradient.

Legend: `B` queries, `N` pointers, `S` shots, `K` pool; ``mask`` [B, N] marks real pointers.
Queries count equally, whatever their number of pointers.

Deviations from upstream:
1. Label smoothing spreads over the candidates that can still be chosen; upstream's reaches masked ones, at −100.
2. RCE has other targets and another likelihood to choose from (:func:`rce_weights`, :func:`rce_loss`).
3. PPO has separate clip ranges (DAPO, arXiv 2503.14476) and ratios per step or per pick (GSPO, arXiv 2507.18071).
Upstream's clamp of logits at −100 is left out: cosine/0.1 and the mask never go below.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

import torch
from torch import Tensor

from icd_assets.selector.config import DenseLoss, Likelihood, RatioLevel, RceTarget
from icd_assets.selector.model import MASKED
from icd_assets.selector.reward_normalization import center, masked_mean


def pick_log_probs(logits: Tensor, pointers: Tensor) -> Tensor:
    """logits [B, N, S, K], pointers [B, N, S] → log-probability of each pick [B, N, S]."""
    return picked(logits.log_softmax(-1), pointers)


def picked(values: Tensor, pointers: Tensor) -> Tensor:
    """values [..., S, K] at the picks [..., S] of pointers."""
    return values.gather(-1, pointers.unsqueeze(-1)).squeeze(-1)


def pick_cross_entropy(logits: Tensor, pointers: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each pick [B, N, S]; its mean is upstream's SFT loss (SPEC E.2)."""
    loss = -pick_log_probs(logits, pointers)
    if label_smoothing == 0:
        return loss
    # Spread over what can still be chosen: a masked candidate, at −100, would dominate the loss.
    open_ = logits > MASKED  # [B, N, S, K]
    spread = -(logits.log_softmax(-1) * open_).sum(-1) / open_.sum(-1)  # [B, N, S]
    return (1 - label_smoothing) * loss + label_smoothing * spread


def rce_weights(
    rewards: Tensor,
    mask: Tensor,
    temperature: float,
    target: RceTarget = "softmax",
    start_log_probs: Tensor | None = None,
) -> Tensor:
    """Weights of a query's pointers; all [B, N], summing to 1 over N.

    softmax: softmax(R/τ) (SPEC K.1).
    above_mean: max(R − mean, 0), normalized; all 0 if rewards are equal. Only the better half is imitated.
    tilted: softmax(R/τ + log π₀), π₀ the policy before RCE: the solution, on the stored pointers, of
    max E[R] − τ·KL(π‖π₀) (REPS; AWR, arXiv 1910.00177). Equal rewards ask for no change of preference.
    """
    match target:
        case "above_mean":
            above = center(rewards, mask).clamp(min=0)  # [B, N]
            # Equal rewards leave nothing above the mean: 0/1e-6 is no gradient, where 0/0 would be NaN.
            return above / above.sum(-1, keepdim=True).clamp(min=1e-6)
        case "softmax":
            scores = rewards / temperature
        case "tilted":
            if start_log_probs is None:
                raise ValueError("the tilted target needs the log-probabilities under the policy before RCE")
            scores = rewards / temperature + start_log_probs
        case _:
            assert_never(target)
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)  # weight 0 where padded


def rce_loss(log_probs: Tensor, weights: Tensor, mask: Tensor, likelihood: Likelihood = "pool") -> Tensor:
    """Σ_i w_i·(−log π(pointer_i)), mean over queries (SPEC K.1); all [B, N].

    group: π is renormalized over the query's stored pointers, so that no mass moves to or from the others.
    """
    match likelihood:
        case "pool":
            pass
        case "group":
            among_stored = log_probs.masked_fill(~mask, -torch.inf).log_softmax(-1)  # [B, N]
            log_probs = among_stored.masked_fill(~mask, 0)  # a weight of 0 times −∞ would be NaN
        case _:
            assert_never(likelihood)
    return -(weights * log_probs).sum(-1).mean()


def dense_loss(log_probs: Tensor, values: Tensor, kind: DenseLoss, temperature: float = 0.05) -> Tensor:
    """What the labels of all choices teach a policy, without sampling; log_probs, values: [..., K] → [...].

    log_probs are normalized over the choices that have a label, and −∞ for others. Labels are from 0 upward.
    cross_entropy: −Σ t·log π with t = softmax(values/τ) (as ListNet, Cao et al. 2007).
    expectation: −Σ π·values, whose gradient is that of the expected label, exactly.
    log_expectation: −log Σ π·values, whose gradient is that of the expectation divided by it, so that a query of
    which the policy misses all good choices teaches as much as any. Labels below 1e-6 count as 1e-6.
    marginal: −log Σ π over the choices within 90 % of the best label (maximum marginal likelihood).
    """
    labelled = log_probs > -torch.inf
    match kind:
        case "cross_entropy":
            target = (values / temperature).masked_fill(~labelled, -torch.inf).softmax(-1)
            return -(target * log_probs.masked_fill(~labelled, 0)).sum(-1)  # 0·(−∞) would be NaN
        case "expectation":
            return -(log_probs.exp() * values).sum(-1)
        case "log_expectation":
            return -(log_probs + values.clamp(min=1e-6).log()).logsumexp(-1)
        case "marginal":
            best = values.masked_fill(~labelled, -torch.inf).amax(-1, keepdim=True)
            return -log_probs.masked_fill(values < 0.9 * best, -torch.inf).logsumexp(-1)
        case _:
            assert_never(kind)


def expected_reward(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """−Σ softmax(log π)·R over the stored pointers of each query; all [..., N] → [...].

    The policy renormalized over the stored pointers is a policy over them, and this is its exact expectation: no
    pointer is sampled, and none whose reward is unknown gains or loses.
    """
    return dense_loss(among(log_probs, mask), rewards, "expectation")


def among(log_probs: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities [..., N] renormalized over the choices of ``mask``; −∞ for others."""
    return log_probs.masked_fill(~mask, -torch.inf).log_softmax(-1)


class Surrogate(NamedTuple):
    loss: Tensor
    mean_ratio: Tensor
    clip_fraction: Tensor  # share of ratios that no longer have a gradient


def ppo_loss(
    new: Tensor,
    old: Tensor,
    advantage: Tensor,
    mask: Tensor,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    level: RatioLevel = "sequence",
) -> Surrogate:
    """−mean min(ρA, clip(ρ, 1−ε, 1+ε_high)·A) (PPO, arXiv 1707.06347; SPEC K.3-3).

    new, old: [B, N, S] log-probabilities of each pick; advantage, mask: [B, N]. ρ is the ratio of whole pointers
    (``sequence``), its S-th root (``sequence_mean``), or one per pick (``step``).
    """
    change = new - old  # [B, N, S]
    match level:
        case "sequence":  # a sum of logarithms: the product of the picks' ratios
            change = change.sum(-1, keepdim=True)
        case "sequence_mean":
            change = change.mean(-1, keepdim=True)
        case "step":
            pass
        case _:
            assert_never(level)
    ratio = change.exp()  # [B, N, 1 or S]
    weighted = advantage.unsqueeze(-1)  # [B, N, 1]
    high = epsilon if epsilon_high is None else epsilon_high
    clipped = ratio.clamp(1 - epsilon, 1 + high) * weighted
    # The minimum is pessimistic: a ratio is clipped where that lowers the objective, never where it raises it.
    objective = torch.minimum(ratio * weighted, clipped).mean(-1)  # [B, N]
    out = ((ratio * weighted > clipped) & (weighted != 0)).float().mean(-1)
    return Surrogate(
        loss=-masked_mean(objective, mask).mean(),
        mean_ratio=masked_mean(ratio.mean(-1), mask).mean().detach(),
        clip_fraction=masked_mean(out, mask).mean(),
    )
