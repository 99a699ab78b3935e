"""A selector that points anywhere in the library, not only into a pool of a few dozen.

It looks at a pool like those it was trained on, which gives its state; then it points, shot by shot, at that pool
and at the rows of the whole library that are nearest to the query.

1. The nearest rows are not looked at as a pool of their own: they resemble each other, as no random pool of the
   training did. Some selectors bear that and others lose by it (docs/methods/whole_library.md).
2. They are found by exact cosines, a block of queries at a time: 1,200 queries against VQAv2's 443,757 rows take
   half a minute on one core, so there is no approximate index.

Legend: `Q` queries, `N` library rows, `K` candidates, `D` embedding, `S` shots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from icd_assets.evaluation.selections import Selection
from icd_assets.pools.samplers import on_same_image
from icd_assets.pools.similarity import top_similar
from icd_assets.selector.decoding import evaluating

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.selector.model import PointerSelector


def library_selections(
    policies: Mapping[str, PointerSelector],
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    query: Tensor,
    embeddings: Tensor,
    shots: int,
    nearest: int,
) -> list[Selection]:
    """Each policy's greedy choices among its pool and the ``nearest`` rows of the whole library.

    query: [Q, D], in the order of ``pools``; embeddings: [N, D], of the library.
    """
    own = [list(pool) for pool in pools.values()]
    reach = within_reach(query, embeddings, own, on_same_image(queries, library), nearest)
    selections = []
    for name, policy in policies.items():
        rows = dict(zip(pools, point(policy, query, embeddings, own, reach, shots), strict=True))
        pointers = dict.fromkeys(pools, tuple(range(shots)))
        selections.append(Selection(f"{name}, whole library", shots, pointers, pools=rows))
    return selections


def select_from_library(
    policy: PointerSelector,
    query: Tensor,
    library: Tensor,
    pools: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
    shots: int,
    nearest: int = 64,
) -> list[tuple[int, ...]]:
    """For each query its demonstrations: ``shots`` distinct rows of the library, in prompt order.

    query: [Q, D], library: [N, D], float32 unit vectors of the encoder that ``policy`` was trained with. ``pools``
    [Q]: the library rows that it looks at, such as :func:`icd_assets.pools.samplers.build_pools` gives; ``banned``
    [Q]: rows that may not be shown, such as :func:`icd_assets.pools.samplers.on_same_image` gives.

    Raises ``ValueError`` where fewer than ``shots`` rows may be shown.
    """
    return point(policy, query, library, pools, within_reach(query, library, pools, banned, nearest), shots)


def within_reach(
    query: Tensor, library: Tensor, pools: Sequence[Sequence[int]], banned: Sequence[Sequence[int]], nearest: int
) -> list[list[int]]:
    """Per query the rows that it may be shown: those of its pool, then the ``nearest`` others, best first."""
    offered = [[row for row in pool if row not in set(out)] for pool, out in zip(pools, banned, strict=True)]
    excluded = [sorted({*pool, *out}) for pool, out in zip(pools, banned, strict=True)]
    count = min(nearest, len(library) - max(map(len, excluded), default=0))
    if count <= 0:
        return offered
    near = top_similar(query.numpy(), library.numpy(), excluded, count)
    return [own + others for own, others in zip(offered, near, strict=True)]


def point(
    policy: PointerSelector,
    query: Tensor,
    library: Tensor,
    pools: Sequence[Sequence[int]],
    reach: Sequence[Sequence[int]],
    shots: int,
) -> list[tuple[int, ...]]:
    """Greedy choices among ``reach`` [Q], by the state that each query has after looking at its pool."""
    device = next(policy.parameters()).device
    chosen = []
    for row, (pool, rows) in enumerate(zip(pools, reach, strict=True)):
        if len(rows) < shots:
            raise ValueError(f"query {row}: {shots} demonstrations cannot be chosen from {len(rows)} rows")
        # Lists, as a tensor takes a tuple for an index of each dimension.
        seen, offered = library[list(pool)], library[list(rows)]
        own = query[row : row + 1].to(device)
        picks = _greedy(policy, own, seen[None].to(device), offered[None].to(device), shots)
        chosen.append(tuple(rows[place] for place in picks))
    return chosen


def _greedy(policy: PointerSelector, query: Tensor, seen: Tensor, offered: Tensor, shots: int) -> list[int]:
    """Places in offered: [1, K, D], after looking at seen: [1, K', D]; query: [1, D]."""
    with evaluating(policy):
        state = policy.encode(query, seen).state.unsqueeze(1)  # [1, 1, X]
        candidates = policy.encode(query, offered).candidates
        taken = torch.zeros(1, 1, offered.size(1), dtype=torch.bool, device=query.device)
        picks = []
        for shot in range(shots):
            logits = policy.scores(state, candidates, taken).masked_fill(taken, -torch.inf)  # [1, 1, K]
            picked = logits.argmax(-1)  # [1, 1]
            picks.append(int(picked))
            if shot + 1 < shots:
                state = policy.step(state, candidates, picked)
                taken = taken.scatter(2, picked.unsqueeze(-1), True)
    return picks
