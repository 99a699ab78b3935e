"""After which picks candidates are labelled: the policy's greedy ones, and others that it would draw.

Legend: `M` draws, `S` picks, `K` pool, `D` embedding.
A query's prefixes depend on the policy, the seed and its row alone: not on the other queries, and more or longer
ones leave those asked for before as they are, so that their answers are not paid for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.seeding import torch_rng
from icd_assets.runtime.threads import one_thread
from icd_assets.selector.decoding import evaluating, greedy, log_prob, sample

if TYPE_CHECKING:
    from icd_assets.scoring.step_labels import Prefix
    from icd_assets.selector.model import PointerSelector

_DRAWS = 64


def propose_prefixes(
    policy: PointerSelector,
    pools: Mapping[int, Sequence[int]],
    embeddings: Tensor,
    *,
    per_length: int,
    longest: int,
    seed: int,
) -> dict[int, list[Prefix]]:
    """Query row → ``per_length`` prefixes of each length from 1 to ``longest``, in ``pools``' order.

    Of one length they are distinct as sets: the greedy one, then draws at temperature 1 as they come, then, of a
    policy too sure to draw others, the greedy picks with the next most probable last ones. There are fewer where
    neither gives more. embeddings: [n, D], one per row that ``pools`` names.
    """
    device = next(policy.parameters()).device
    found: dict[int, list[Prefix]] = {}
    with one_thread(device):
        for row, candidates in pools.items():
            if longest >= len(candidates):
                raise UserError(
                    f"labels after {longest} picks need more candidates than that, but the pool of query {row} "
                    f"has {len(candidates)}; lower shots or enlarge the pool."
                )
            query, pool = embeddings[[row]].to(device), embeddings[list(candidates)].unsqueeze(0).to(device)
            found[row] = _of_query(policy, row, query, pool, per_length, longest, seed) if longest else []
    return found


def _of_query(
    policy: PointerSelector, row: int, query: Tensor, pool: Tensor, per_length: int, longest: int, seed: int
) -> list[Prefix]:
    """query: [1, D], pool: [1, K, D]"""
    best = greedy(policy, query, pool, longest)[0].tolist()
    draws = max(_DRAWS, 4 * per_length)
    # One stream a pick: longer prefixes go on from what shorter ones drew.
    streams = [torch_rng(seed, "prefix", row, pick) for pick in range(longest)]
    uniforms = torch.stack([torch.rand(draws, dtype=torch.float64, generator=rng) for rng in streams], dim=-1)
    drawn = sample(policy, query, pool, uniforms.unsqueeze(0)).pointers[0].tolist()  # [M, S]
    prefixes: list[Prefix] = []
    for length in range(1, longest + 1):
        sequences = (tuple(sequence[:length]) for sequence in (best, *drawn))
        siblings = _siblings(policy, query, pool, best[:length])  # a generator: seldom needed
        prefixes += _distinct(chain(sequences, siblings), per_length)
    return prefixes


def _distinct(prefixes: Iterable[Prefix], count: int) -> list[Prefix]:
    by_set: dict[frozenset[int], Prefix] = {}
    for prefix in prefixes:
        if len(by_set) == count:
            break
        by_set.setdefault(frozenset(prefix), prefix)
    return list(by_set.values())


def _siblings(policy: PointerSelector, query: Tensor, pool: Tensor, prefix: Sequence[int]) -> Iterator[Prefix]:
    """``prefix`` with each other last pick, the most probable first."""
    *before, _ = prefix
    others = [(*before, place) for place in range(pool.size(1)) if place not in prefix]
    with evaluating(policy):
        scores = log_prob(policy, query, pool, torch.tensor([others], device=query.device))[0]
    for at in scores.sort(descending=True, stable=True).indices.tolist():
        yield others[at]
