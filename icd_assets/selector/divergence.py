"""How far a policy is from its reference, how undecided it is, and how much that weighs (SPEC K.3, items 4 to 6).

Legend: `B` queries, `N` pointers, `S` shots, `K` pool; ``mask`` [B, N] marks real pointers.

Deviations from upstream:
1. KL(π‖π_ref) is an expectation under π (:mod:`.policy_divergence`). Upstream's estimate k3 takes the stored
   pointers for samples of the policy, which they are not.
2. ``stored_prefixes`` sums over the pool, too, but averages over the prefixes of the stored pointers: it can be
   many times KL(π‖π_ref), since π hardly visits most of them. It, k1, k2 and k3 are kept for comparison. With
   ρ = π/π_ref, k3 = ρ − 1 − log ρ estimates KL(π_ref‖π).
3. A weight of 0 stays 0; upstream's adaptation would lift it to 0.001.
"""

from __future__ import annotations

from typing import Literal, assert_never

from torch import Tensor

from icd_assets.selector.losses import picked
from icd_assets.selector.reward_normalization import masked_mean

KL_LOW, KL_HIGH, BETA_FACTOR, BETA_MIN, BETA_MAX = 0.01, 0.1, 1.5, 0.001, 10.0


StoredDivergence = Literal["stored_prefixes", "stored_prefixes_forward", "k1", "k2", "k3"]


def stored_divergence(
    kind: StoredDivergence, new: Tensor, reference: Tensor, pointers: Tensor, mask: Tensor
) -> Tensor:
    """Scalar, mean over pointers, then queries; new, reference: log-probabilities [B, N, S, K].

    stored_prefixes: of each pick, the direction of KL(π‖π_ref), summed over the S picks of a stored pointer;
    stored_prefixes_forward: that of KL(π_ref‖π).
    """
    # Whole pools can be summed over because masked picks have a finite logit: e⁻¹⁰⁰ times their difference is 0.
    match kind:
        case "stored_prefixes":
            per_pointer = (new.exp() * (new - reference)).sum((-1, -2))  # [B, N]
        case "stored_prefixes_forward":
            per_pointer = (reference.exp() * (reference - new)).sum((-1, -2))
        case "k1" | "k2" | "k3":
            log_ratio = (picked(new, pointers) - picked(reference, pointers)).sum(-1)  # [B, N] of whole pointers
            per_pointer = estimate(kind, log_ratio)
        case _:
            assert_never(kind)
    return masked_mean(per_pointer, mask).mean()


def estimate(kind: Literal["k1", "k2", "k3"], log_ratio: Tensor) -> Tensor:
    """Schulman's estimators (joschu.net/blog/kl-approx.html) of log_ratio = log π − log π_ref."""
    match kind:
        case "k1":  # unbiased for samples of π, but negative for some of them
            return log_ratio
        case "k2":
            return log_ratio.square() / 2
        case "k3":  # never negative
            return log_ratio.exp() - 1 - log_ratio
        case _:
            assert_never(kind)


def entropy(new: Tensor, mask: Tensor) -> Tensor:
    """Entropy of each pick in nats, summed over the S picks, mean over pointers and queries; new: [B, N, S, K]."""
    return masked_mean(-(new.exp() * new).sum((-1, -2)), mask).mean()


def next_beta(beta: float, kl: float) -> float:
    """The KL weight for the next update: ×1.5 above 0.1, ÷1.5 below 0.01, within [0.001, 10] (SPEC K.3-6)."""
    if beta == 0:
        return 0.0
    if kl > KL_HIGH:
        beta *= BETA_FACTOR
    elif kl < KL_LOW:
        beta /= BETA_FACTOR
    return min(max(beta, BETA_MIN), BETA_MAX)
