"""Which pointers of a query the VLM is asked about: beams, neighbors, samples and random ones (SPEC G.3).

Legend: `B` queries, `N` pointers, `S` shots, `K` pool, `D` embedding.

Deviations from upstream:
1. The policy's real scores are used at every shot; upstream compares all shots with the static query, ungated,
   and with weights that were never loaded (SPEC G.1).
2. Any number of shots: the r-th retrieval pointer is the similarity ranks r … r+S−1, for pairs upstream's.
3. Each query draws from its own generator, and all batches have one shape: its proposals do not depend on which
   queries share a batch (matrix products round differently by shape), so resumed and sharded runs give the same
   bytes. A library is projected once; a query looks at its pool once.
4. Every proposal carries ``behavior_logprob``, its log-probability under the policy at temperature 1.
5. ``logprob_score`` of samples is Σ log p instead of Σ log(p + 1e-8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.config import ProposalConfig
from icd_assets.selector.decoding import beams_of, draw, evaluating, roll_out
from icd_assets.selector.model import Encoded
from icd_assets.selector.neighbors import neighbors
from icd_assets.selector.projected import ProjectedLibrary

_QUERIES = 64  # in a batch
_CANDIDATES = 1 << 17  # in a batch, of all its queries: what its scores need stays in a few megabytes

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
    library: ProjectedLibrary,
    rows: Sequence[int],
    query_emb: Tensor,
    pools: Tensor | None,
    config: ProposalConfig,
) -> dict[int, list[Proposal]]:
    """Row → its proposals, distinct as sets; rows: the B queries, query_emb: [B, D].

    pools: [B, K] rows of the library; None: each query's pool is all of it but the row of the query's own number.
    Of pointers to the same set the first stays, in the order beam, retrieval, sample, random.
    """
    size = len(library.table) - 1 if pools is None else pools.size(1)
    if not 1 <= config.shots <= size:
        raise UserError(
            f"shots is {config.shots}, but a pool has {size} candidates; lower shots or enlarge the pool."
        )
    if any(temperature <= 0 for temperature in config.temps):
        raise UserError(f"temps is {config.temps}; sampling temperatures must be above 0.")
    counts = {len(rows), len(query_emb), len(rows if pools is None else pools)}
    if len(counts) > 1:
        raise ValueError(f"rows, queries and pools are not one each: {sorted(counts)} of them")
    found: dict[int, list[Proposal]] = {}
    at_once = max(1, min(_QUERIES, _CANDIDATES // size))
    for index in torch.split(torch.arange(len(rows)), at_once):
        # All batches have one shape, filled up with the last query: bytes do not depend on who shares one.
        filled = torch.cat((index, index[-1:].expand(at_once - len(index))))
        own = [rows[i] for i in filled.tolist()]
        batch = _Batch.of(library, own, query_emb[filled], None if pools is None else pools[filled])
        proposed = _of_batch(batch, own, config)
        found.update(zip(own[: len(index)], proposed, strict=False))
    return found


class _Batch(NamedTuple):
    """B queries that have looked at their pools."""

    library: ProjectedLibrary
    encoded: Encoded
    query: Tensor  # [B, D]
    pools: Tensor | None  # [B, K]; None: all rows
    closed: Tensor | None  # [B] positions that are never chosen

    @classmethod
    def of(cls, library: ProjectedLibrary, rows: Sequence[int], query: Tensor, pools: Tensor | None) -> _Batch:
        policy = library.policy
        with evaluating(policy):
            seen = library.whole() if pools is None else library.of(pools)
            closed = torch.tensor(rows, device=seen[0].device) if pools is None else None
            encoded = policy.look(query.to(seen[0].device), seen, closed)
        return cls(library, encoded, query, pools, closed)

    @property
    def size(self) -> int:
        """How many candidates a query can be shown."""
        return self.encoded.candidates.size(1) - (self.closed is not None)


def _of_batch(batch: _Batch, rows: Sequence[int], config: ProposalConfig) -> list[list[Proposal]]:
    """The proposals of each of the B queries."""
    policy, encoded, closed = batch.library.policy, batch.encoded, batch.closed
    uniforms, random = _drawn(batch, rows, config)
    near, cosines = neighbors(batch.query, batch.library, batch.pools, closed, config.num_retrieval, config.shots)
    known, device = torch.cat((near, random), dim=1), encoded.state.device  # [B, M, S] whatever the policy
    temperatures = [t for t in config.temps for _ in range(config.samples_per_temp)]
    uniforms, given = uniforms.to(device), known.to(device)

    def choose(shot: int, logits: Tensor) -> Tensor:
        return torch.cat((draw(uniforms, shot, logits), given[:, :, shot]), dim=1)

    with evaluating(policy):
        beams = beams_of(policy, encoded, config.shots, config.num_beams, closed) if config.num_beams else None
        rest = roll_out(
            policy,
            encoded,
            config.shots,
            choose,
            count=len(temperatures) + known.size(1),
            temperatures=torch.tensor(temperatures),
            closed=closed,
        )
    lists = zip(
        [[]] * len(rows) if beams is None else beams.pointers.tolist(),
        [[]] * len(rows) if beams is None else beams.step_log_probs.exp().sum(-1).tolist(),
        [[]] * len(rows) if beams is None else beams.log_probs.tolist(),
        rest.pointers.tolist(),
        rest.log_probs.tolist(),
        rest.behavior.sum(-1).tolist(),
        cosines.tolist(),
        strict=True,
    )
    return [_distinct(_proposals(temperatures, *of_query)) for of_query in lists]


def _distinct(proposals: Iterable[Proposal]) -> list[Proposal]:
    by_set: dict[frozenset[int], Proposal] = {}
    for proposal in proposals:
        by_set.setdefault(frozenset(proposal.pointer), proposal)
    return list(by_set.values())


def _proposals(
    temperatures: Sequence[float],
    beams: Sequence[Sequence[int]],
    beam_scores: Sequence[float],
    beam_log_probs: Sequence[float],
    rest: Sequence[Sequence[int]],
    log_probs: Sequence[float],
    behavior: Sequence[float],
    cosines: Sequence[float],
) -> Iterator[Proposal]:
    """Of one query, by source; ``rest``: samples, one of each temperature, then neighbors, then random ones."""
    for rank, (pointer, score, value) in enumerate(zip(beams, beam_scores, beam_log_probs, strict=True)):
        yield Proposal(
            tuple(pointer),
            "beam",
            beam_rank=rank,
            beam_score=score,
            logprob_score=value,
            behavior_logprob=value,
        )
    samples, near = len(temperatures), len(temperatures) + len(cosines)
    for place, cosine in enumerate(cosines, samples):
        yield Proposal(tuple(rest[place]), "retrieval", similarity_score=cosine, behavior_logprob=behavior[place])
    for place, temperature in enumerate(temperatures):
        yield Proposal(
            tuple(rest[place]),
            "sample",
            logprob_score=log_probs[place],
            temperature=temperature,
            behavior_logprob=behavior[place],
        )
    for place in range(near, len(rest)):
        yield Proposal(tuple(rest[place]), "random", behavior_logprob=behavior[place])


def _drawn(batch: _Batch, rows: Sequence[int], config: ProposalConfig) -> tuple[Tensor, Tensor]:
    """Uniforms [B, T·n, S] of samples, and random pointers [B, R, S]: of each query from its own generator."""
    temps = len(config.temps) if config.samples_per_temp else 0
    uniforms = torch.empty(len(rows), temps, config.samples_per_temp, config.shots, dtype=torch.float64)
    random = torch.empty(len(rows), config.num_random, config.shots, dtype=torch.long)
    for place, row in enumerate(rows):
        rng = torch_rng(config.seed, "propose", row)
        for each in uniforms[place]:
            torch.rand(each.shape, dtype=each.dtype, generator=rng, out=each)
        for each in random[place]:
            each.copy_(torch.randperm(batch.size, generator=rng)[: config.shots])
    if batch.closed is not None:
        random += random >= batch.closed.view(-1, 1, 1)  # positions without the closed one → with it
    return uniforms.flatten(1, 2), random
