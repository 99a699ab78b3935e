"""The candidates most similar to a query, as pointers: of the ranks r … r + S − 1 (SPEC G.3, retrieval).

Legend: `n` rows, `B` queries, `K` pool, `D` embedding, `R` pointers, `S` shots.
A matrix product finds a few more candidates than are needed; their cosines are then computed one by one, as torch
does, so that ranks and scores do not depend on how a product rounds. Equal ones come in the pool's order.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from icd_assets.runtime.threads import one_thread


class Rows:
    """Embeddings [n, D] on the CPU, and their lengths, which are computed once."""

    def __init__(self, table: Tensor) -> None:
        self.table = table.cpu()

    @cached_property
    def norms(self) -> Tensor:
        """[n]"""
        found: Tensor = torch.linalg.vector_norm(self.table, dim=-1)
        return found.clamp(min=1e-8)


_SPARE = 8  # candidates beyond those needed
_ROUNDING = 1e-5  # of a product of unit vectors, many times over


def neighbors(
    query: Tensor, library: Rows, pools: Tensor | None, closed: Tensor | None, count: int, shots: int
) -> tuple[Tensor, Tensor]:
    """(positions in the pool [B, R, S], their mean cosines [B, R]) on the CPU; R is ``count``, or what there is.

    query: [B, D]; pools: [B, K] rows of the library, None: all rows; closed: [B] positions to leave out.
    """
    query, table = query.cpu(), library.table
    closed = None if closed is None else closed.cpu()
    pool = len(table) if pools is None else pools.size(1)
    offered = pool - (closed is not None)
    count = min(count, offered - shots + 1)
    needed = count + shots - 1
    if count == 0:
        return torch.zeros(len(query), 0, shots, dtype=torch.long), torch.zeros(len(query), 0)
    with one_thread():
        rough = _rough(query, library, pools)  # [B, K]
        if closed is not None:
            rough.scatter_(1, closed.unsqueeze(1), -torch.inf)
        near = rough.topk(min(needed + _SPARE, offered))
        cosines, places = _ranked(query, table, pools, near.indices, needed)
        if near.values.size(1) < offered:
            # The least of the rough ones might still be less than one that was left out.
            for row in (cosines[:, -1] < near.values[:, -1] + _ROUNDING).nonzero().squeeze(1).tolist():
                own = slice(row, row + 1)
                every = rough[own].isfinite().nonzero()[:, 1].unsqueeze(0)
                chosen = None if pools is None else pools[own]
                cosines[own], places[own] = _ranked(query[own], table, chosen, every, needed)
    return places.unfold(1, shots, 1), cosines.unfold(1, shots, 1).mean(-1)


def _rough(query: Tensor, library: Rows, pools: Tensor | None) -> Tensor:
    """Cosines [B, K] by matrix products."""
    unit = functional.normalize(query, dim=-1)
    if pools is None:
        return unit @ library.table.T / library.norms
    return torch.bmm(taken(library.table, pools), unit.unsqueeze(2)).squeeze(2) / library.norms[pools]


def _ranked(
    query: Tensor, table: Tensor, pools: Tensor | None, places: Tensor, needed: int
) -> tuple[Tensor, Tensor]:
    """(cosines, positions) [B, needed] of the most similar among ``places`` [B, M], of equal ones the first."""
    places = places.sort(dim=-1).values
    rows = places if pools is None else pools.gather(1, places)
    cosines = functional.cosine_similarity(query.unsqueeze(1), taken(table, rows), dim=-1)
    ranked = cosines.sort(dim=-1, descending=True, stable=True)
    return ranked.values[:, :needed], places.gather(1, ranked.indices[:, :needed])


def taken(table: Tensor, rows: Tensor) -> Tensor:
    """table[rows], several times as fast: whole rows [n, …] are copied for rows [B, K]."""
    return table.index_select(0, rows.flatten()).view(*rows.shape, *table.shape[1:])
