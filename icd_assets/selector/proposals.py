"""Which pointers of a query the VLM is asked about: beams, neighbors, samples and random ones (SPEC G.3).

Legend: `B` queries, `N` pointers, `S` shots, `K` pool, `D` embedding.

Deviations from upstream:
1. The policy's real scores are used at every shot; upstream compares all shots with the static query, ungated,
   and with weights that were never loaded (SPEC G.1).
2. Any number of shots: the r-th retrieval pointer is the similarity ranks r … r+S−1, for pairs upstream's.
3. Each query draws from its own generator, and is computed alone: its proposals do not depend on which queries
   share a batch (matrix products round differently by batch), so resumed and sharded runs give the same bytes.
4. Every proposal carries ``behavior_logprob``, its log-probability under the policy at temperature 1.
5. ``logprob_score`` of samples is Σ log p instead of Σ log(p + 1e-8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from icd_assets.errors import UserError
from icd_assets.runtime.seeding import torch_rng
from icd_assets.runtime.threads import one_thread
from icd_assets.selector.config import ProposalConfig
from icd_assets.selector.decoding import beam_search, evaluating, log_prob, sample
from icd_assets.selector.model import PointerSelector

Source = Literal["beam", "retrieval", "sample", "random"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A pointer and where it came from; scores that its source does not have are None.

    beam_score: sum of the picks' probabilities; logprob_score: log-probability under the beam's or the tempered
    sampler's distribution; similarity_score: mean cosine between the query and the demonstrations.
    """

    pointer: tuple[int, ...]  # [S] positions in the pool
    source: Source
    beam_rank: int | None = None
    beam_score: float | None = None
    logprob_score: float | None = None
    temperature: float | None = None
    similarity_score: float | None = None
    behavior_logprob: float | None = None


def propose(
    policy: PointerSelector,
    rows: Sequence[int],
    query_emb: Tensor,
    pool_emb: Tensor,
    config: ProposalConfig,
) -> dict[int, list[Proposal]]:
    """Row → its proposals, distinct as sets; rows: the B queries, query_emb: [B, D], pool_emb: [B, K, D].

    Of pointers to the same set the first stays, in the order beam, retrieval, sample, random.
    """
    if not 1 <= config.shots <= pool_emb.size(1):
        raise UserError(
            f"shots is {config.shots}, but a pool has {pool_emb.size(1)} candidates; "
            "lower shots or enlarge the pool."
        )
    if any(temperature <= 0 for temperature in config.temps):
        raise UserError(f"temps is {config.temps}; sampling temperatures must be above 0.")
    if not len(rows) == query_emb.size(0) == pool_emb.size(0):
        raise ValueError(f"{len(rows)} rows, {query_emb.size(0)} queries, {pool_emb.size(0)} pools")
    device = next(policy.parameters()).device
    found: dict[int, list[Proposal]] = {}
    with one_thread(device):
        for index, row in enumerate(rows):
            query, pool = query_emb[index : index + 1].to(device), pool_emb[index : index + 1].to(device)
            found[row] = _propose_one(policy, query, pool, config, torch_rng(config.seed, "propose", row))
    return found


def _propose_one(
    policy: PointerSelector, query: Tensor, pool: Tensor, config: ProposalConfig, rng: torch.Generator
) -> list[Proposal]:
    """query: [1, D], pool: [1, K, D]"""
    by_set: dict[frozenset[int], Proposal] = {}
    for generate in (_beams, _neighbors, _samples, _random):
        for proposal in generate(policy, query, pool, config, rng):
            by_set.setdefault(frozenset(proposal.pointer), proposal)
    proposals = list(by_set.values())
    if not proposals:
        return []
    pointers = torch.tensor([[proposal.pointer for proposal in proposals]], device=query.device)
    with evaluating(policy):
        behavior = log_prob(policy, query, pool, pointers)[0].tolist()
    return [replace(p, behavior_logprob=value) for p, value in zip(proposals, behavior, strict=True)]


def _beams(
    policy: PointerSelector, query: Tensor, pool: Tensor, config: ProposalConfig, rng: torch.Generator
) -> Iterator[Proposal]:
    if config.num_beams == 0:
        return
    found = beam_search(policy, query, pool, config.shots, config.num_beams)
    scores = found.step_log_probs[0].exp().sum(-1).tolist()
    log_probs = found.log_probs[0].tolist()
    for rank, pointer in enumerate(found.pointers[0].tolist()):
        yield Proposal(
            tuple(pointer), "beam", beam_rank=rank, beam_score=scores[rank], logprob_score=log_probs[rank]
        )


def _neighbors(
    policy: PointerSelector, query: Tensor, pool: Tensor, config: ProposalConfig, rng: torch.Generator
) -> Iterator[Proposal]:
    similarity = functional.cosine_similarity(query[0, None], pool[0], dim=-1)  # [K]
    ranked = similarity.sort(descending=True, stable=True)
    order, cosine = ranked.indices.tolist(), ranked.values
    for rank in range(min(config.num_retrieval, len(order) - config.shots + 1)):
        window = slice(rank, rank + config.shots)
        yield Proposal(tuple(order[window]), "retrieval", similarity_score=cosine[window].mean().item())


def _samples(
    policy: PointerSelector, query: Tensor, pool: Tensor, config: ProposalConfig, rng: torch.Generator
) -> Iterator[Proposal]:
    if config.samples_per_temp == 0:
        return
    for temperature in config.temps:
        uniforms = torch.rand(1, config.samples_per_temp, config.shots, dtype=torch.float64, generator=rng)
        drawn = sample(policy, query, pool, uniforms, temperature)
        log_probs = drawn.log_probs[0].tolist()
        for pointer, value in zip(drawn.pointers[0].tolist(), log_probs, strict=True):
            yield Proposal(tuple(pointer), "sample", logprob_score=value, temperature=temperature)


def _random(
    policy: PointerSelector, query: Tensor, pool: Tensor, config: ProposalConfig, rng: torch.Generator
) -> Iterator[Proposal]:
    for _ in range(config.num_random):
        drawn = torch.randperm(pool.size(1), generator=rng)[: config.shots]
        yield Proposal(tuple(drawn.tolist()), "random")
