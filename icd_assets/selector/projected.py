"""The rows of a library under a policy: what of a candidate needs no query is computed once, not once per query.

Legend: `n` rows, `B` queries, `K` pool, `D` embedding, `P` whatever the policy keeps of a candidate.
A row is projected in a block of fixed shape, so that its bytes do not depend on which other rows are asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from icd_assets.selector.decoding import evaluating
from icd_assets.selector.model import PointerSelector
from icd_assets.selector.neighbors import Rows, taken

_BLOCK = 512  # rows of one matrix product
KEPT = 1 << 16  # rows up to which a whole library stays projected: 134 MB of v2 at width 256


class ProjectedLibrary(Rows):
    """A policy in evaluation and the embeddings [n, D] that candidates are rows of; the policy must not change."""

    def __init__(self, policy: PointerSelector, table: Tensor, asked: int | None = None) -> None:
        """asked: how many candidates the pools to come name; a larger table is projected in parts."""
        super().__init__(table)
        self.policy, self._kept = policy, len(table) <= (KEPT if asked is None else min(asked, KEPT))
        self._whole: tuple[Tensor, ...] | None = None

    def whole(self) -> tuple[Tensor, ...]:
        """All rows as one pool that queries share, each [1, n, P]."""
        if self._whole is None:
            self._whole = self._project(torch.arange(len(self.table)))
        return tuple(part.unsqueeze(0) for part in self._whole)

    def of(self, pools: Tensor) -> tuple[Tensor, ...]:
        """Of pools [B, K] of rows, each [B, K, P]."""
        rows, kept = pools, self.whole() if self._kept else None
        if kept is None:
            used, rows = torch.unique(pools, return_inverse=True)
            kept = tuple(part.unsqueeze(0) for part in self._project(used))
        return tuple(taken(part[0], rows.to(part.device)) for part in kept)

    def _project(self, rows: Tensor) -> tuple[Tensor, ...]:
        device = next(self.policy.parameters()).device
        found: list[tuple[Tensor, ...]] = []
        with evaluating(self.policy):
            for block in torch.split(rows, _BLOCK):
                padded = torch.cat((block, block[-1:].expand(_BLOCK - len(block))))
                projected = self.policy.project(self.table[padded].to(device))
                found.append(tuple(part[: len(block)] for part in projected))
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))
