"""Proposals as the formula says them: a query at a time, the pool encoded for each pick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.config import ProposalConfig
from icd_assets.selector.decoding import evaluating, log_prob, sample
from icd_assets.selector.model import PointerSelector
from icd_assets.selector.projected import ProjectedLibrary
from icd_assets.selector.proposals import Proposal, propose

Plain = tuple[tuple[int, ...], str, float | None, float]  # pointer, source, score of its source, behavior


def proposed(
    policy: PointerSelector, rows: Sequence[int], query: Tensor, pools: Tensor, config: ProposalConfig
) -> dict[int, list[Proposal]]:
    """Of pools given as vectors [B, K, D]."""
    places = torch.arange(pools[..., 0].numel()).view(pools.shape[:2])
    return propose(ProjectedLibrary(policy, pools.flatten(0, 1)), rows, query, places, config)


def plainly(policy: PointerSelector, row: int, query: Tensor, pool: Tensor, config: ProposalConfig) -> list[Plain]:
    """Of one query [D] and its pool [K, D]."""
    found: dict[frozenset[int], tuple[tuple[int, ...], str, float | None]] = {}
    for pointer, source, score in _all(policy, row, query, pool, config):
        found.setdefault(frozenset(pointer), (pointer, source, score))
    pointers = torch.tensor([[pointer for pointer, *_ in found.values()]])
    with evaluating(policy):
        behavior = log_prob(policy, query[None], pool[None], pointers)[0].tolist()
    return [(*each, value) for each, value in zip(found.values(), behavior, strict=True)]


def _all(
    policy: PointerSelector, row: int, query: Tensor, pool: Tensor, config: ProposalConfig
) -> Iterator[tuple[tuple[int, ...], str, float | None]]:
    prefixes: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for _ in range(config.shots):
        longer = []
        for total, prefix in prefixes:
            step = _next(policy, query, pool, prefix)
            longer += [(total + step[k].item(), (*prefix, k)) for k in range(len(pool)) if k not in prefix]
        prefixes = sorted(longer, key=lambda each: -each[0])[: config.num_beams]
    yield from ((pointer, "beam", total) for total, pointer in prefixes)
    cosines = functional.cosine_similarity(query[None], pool, dim=-1)
    order = cosines.sort(descending=True, stable=True).indices.tolist()
    for rank in range(min(config.num_retrieval, len(order) - config.shots + 1)):
        pointer = tuple(order[rank : rank + config.shots])
        yield pointer, "retrieval", cosines[list(pointer)].mean().item()
    rng = torch_rng(config.seed, "propose", row)
    for temperature in config.temps:
        uniforms = torch.rand(1, config.samples_per_temp, config.shots, dtype=torch.float64, generator=rng)
        drawn = sample(policy, query[None], pool[None], uniforms, temperature)
        for pointer, score in zip(drawn.pointers[0].tolist(), drawn.log_probs[0].tolist(), strict=True):
            yield tuple(pointer), "sample", score
    for _ in range(config.num_random):
        yield tuple(torch.randperm(len(pool), generator=rng)[: config.shots].tolist()), "random", None


def _next(policy: PointerSelector, query: Tensor, pool: Tensor, prefix: tuple[int, ...]) -> Tensor:
    """Log-probabilities [K] of the pick after ``prefix``, encoding the pool anew."""
    with evaluating(policy):
        pointer = torch.tensor([[[*prefix, 0]]])
        logits = policy(query[None], pool[None], pointer)[0, 0, -1]
        found: Tensor = logits.log_softmax(-1)
        return found
