"""KL(π‖π_ref) of whole pointers, as an expectation under π: how far a policy is from its reference.

Legend: `B` queries, `P` paths, `S` shots, `K` pool. By the chain rule (Cover and Thomas 2006, theorem 2.5.3)

    KL(π‖π_ref) = E_{path ~ π} Σ_s Σ_k π(k | path before s) · (log π(k | …) − log π_ref(k | …))

Where the paths, prefixes of S − 1 picks, are few, the expectation is a sum over all of them, and so exact. Else π
draws some: the sum over the pool at each pick stays, which takes most of the noise away (Amini, Vieira and
Cotterell 2025, arXiv:2504.10637). A drawn path weighs π/π held fixed: value 1, gradient that of its
log-probability (Foerster et al. 2018, arXiv:1802.05098), so that the gradient too is that of the expectation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from math import perm

import torch
from torch import Tensor

from icd_assets.selector.decoding import sample
from icd_assets.selector.losses import picked
from icd_assets.selector.model import PointerSelector

ENUMERATED = 256  # paths of a query up to which all of them are visited
DRAWN = 32  # paths of a query that are drawn where there are more


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Pointers [B, P, S] whose last pick does not matter; ``drawn``: from the policy, not all there are."""

    pointers: Tensor
    drawn: bool


def paths_of(policy: PointerSelector, query: Tensor, pool: Tensor, shots: int, rng: torch.Generator) -> Paths:
    """query: [B, D], pool: [B, K, D]; ``rng`` on the CPU is read only where paths are drawn."""
    count, size = query.size(0), pool.size(1)
    if (every := every_path(size, shots)) is not None:
        return Paths(every.to(query.device).expand(count, -1, -1), drawn=False)
    uniforms = torch.rand(count, DRAWN, shots, generator=rng, dtype=torch.float64).to(query.device)
    return Paths(sample(policy, query, pool, uniforms).pointers, drawn=True)


def _completed(path: tuple[int, ...], size: int, shots: int) -> list[int]:
    """The path and, as its last pick, the first candidate that it does not hold."""
    return [*path, next(k for k in range(size) if k not in path)][:shots]


def every_path(size: int, shots: int) -> Tensor | None:
    """All [P, S] of a pool, whose last pick does not matter; None where they are too many to be visited."""
    if perm(size, shots - 1) > ENUMERATED:
        return None
    return _every_path(size, shots)


@lru_cache(maxsize=8)
def _every_path(size: int, shots: int) -> Tensor:
    return torch.tensor([_completed(path, size, shots) for path in permutations(range(size), shots - 1)])


def path_of(every: Tensor, size: int, pointers: Tensor) -> Tensor:
    """Which of ``every`` path [P, S] the pointers [B, N, S] begin with: [B, N]."""
    radix = size ** torch.arange(every.size(1) - 1)
    place = torch.zeros(size ** (every.size(1) - 1), dtype=torch.long)
    place[(every[:, :-1] * radix).sum(-1)] = torch.arange(len(every))
    return place.to(pointers.device)[(pointers[..., :-1] * radix.to(pointers.device)).sum(-1)]


def policy_divergence(new: Tensor, reference: Tensor, paths: Paths) -> Tensor:
    """KL(π‖π_ref) in nats, [B]; new, reference: log-probabilities [B, P, S, K] along the paths."""
    # Masked picks have a finite logit, so the sum may go over whole pools: e⁻¹⁰⁰ times a difference is 0.
    of_path = (new.exp() * (new - reference)).sum((-1, -2))  # [B, P]
    reached = picked(new, paths.pointers)[..., :-1].sum(-1)  # [B, P] log π of the S − 1 picks before the last
    if paths.drawn:
        return ((reached - reached.detach()).exp() * of_path).mean(1)
    return (reached.exp() * of_path).sum(1)


def divergence_between(
    policy: PointerSelector,
    reference: PointerSelector,
    query: Tensor,
    pool: Tensor,
    shots: int,
    rng: torch.Generator,
) -> Tensor:
    """KL(π‖π_ref) [B] of two policies, as it is now; without dropout and gradient if both are evaluating."""
    paths = paths_of(policy, query, pool, shots, rng)
    new, old = (model(query, pool, paths.pointers).log_softmax(-1) for model in (policy, reference))
    return policy_divergence(new, old, paths)
