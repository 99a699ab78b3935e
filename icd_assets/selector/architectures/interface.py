"""What every pointer selector can do: encode a query with its pool, score the next pick, take a pick into account.

Legend: `B` queries, `N` pointers, `S` shots, `K` pool, `D` embedding, `X` state, `Y` candidate as the selector
keeps it. X and Y are the architecture's own; X may grow with the picks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from icd_assets.selector.config import SelectorConfig

MASKED = -100.0  # logit of a candidate that was already chosen; finite upstream, hence in the golden numbers


class Encoded(NamedTuple):
    """A query that has looked at its pool."""

    state: Tensor  # [B, X]
    candidates: Tensor  # [B, K, Y]


class PointerSelector(nn.Module, ABC):
    """A policy over pointers: π(pointer) is the product of the picks' softmax(scores)."""

    config: SelectorConfig
    dropout: nn.Dropout

    @abstractmethod
    def encode(self, query: Tensor, candidates: Tensor) -> Encoded:
        """Once per query; query: [B, D], candidates: [B, K, D]."""

    @abstractmethod
    def project(self, candidates: Tensor) -> tuple[Tensor, ...]:
        """What of candidates [..., D] needs no query: tensors [..., P], so that a library is projected once."""

    @abstractmethod
    def look(self, query: Tensor, projected: tuple[Tensor, ...], closed: Tensor | None = None) -> Encoded:
        """:meth:`encode` of what :meth:`project` made of the candidates; query: [B, D], projected: [B, K, P], or
        [1, K, P] of one pool that all queries share, as are then the candidates, [1, K, Y], where they can be.
        closed: [B] positions that a query must not see.

        The sums have another order than in :meth:`encode`, and dropout is drawn in another one.
        """

    def look_each(self, query: Tensor, candidates: Tensor, count: int) -> Encoded:
        """:meth:`encode` for each of N pointers of a query, with dropout of its own: [B·N, …] of both."""
        return self.encode(query.repeat_interleave(count, 0), candidates.repeat_interleave(count, 0))

    @abstractmethod
    def logits(self, state: Tensor, candidates: Tensor) -> Tensor:
        """Logits [B, N, K] of the next pick, as if nothing was chosen; state: [B, N, X], candidates: [B, K, Y]."""

    def scores(self, state: Tensor, candidates: Tensor, chosen: Tensor) -> Tensor:
        """:meth:`logits`, ``MASKED`` where chosen: [B, N, K] bool."""
        return self.logits(state, candidates).masked_fill(chosen, MASKED)

    @abstractmethod
    def step(self, state: Tensor, candidates: Tensor, picked: Tensor) -> Tensor:
        """The state [B, N, X'] after ``picked`` [B, N], positions; state: [B, N, X], candidates: [B, K, Y]."""

    def set_dropout(self, dropout: float, attn_dropout: float) -> None:
        """Dropout is a setting of each training stage, not of the weights."""
        self.config = self.config.model_copy(update={"dropout": dropout, "attn_dropout": attn_dropout})
        self.dropout.p = dropout
        for module in self.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = attn_dropout

    def forward(self, query: Tensor, candidates: Tensor, pointers: Tensor) -> Tensor:
        """Teacher-forced logits [B, N, S, K]; query: [B, D], candidates: [B, K, D], pointers: [B, N, S]."""
        return self.along(self.encode(query, candidates), pointers)

    def along(self, encoded: Encoded, pointers: Tensor) -> Tensor:
        """Teacher-forced logits [B, N, S, K]; pointers: [B, N, S]."""
        count, shots = pointers.shape[1:]
        state = encoded.state.unsqueeze(1)  # [B, 1, X]: before the first pick all pointers of a query are alike
        chosen = torch.zeros(len(state), 1, encoded.candidates.size(1), dtype=torch.bool, device=state.device)
        logits = []
        for shot in range(shots):
            logits.append(self.scores(state, encoded.candidates, chosen).expand(-1, count, -1))
            if shot + 1 < shots:
                picked = pointers[:, :, shot]
                state = self.step(state.expand(-1, count, -1), encoded.candidates, picked)
                chosen = chosen.expand(-1, count, -1).scatter(2, picked.unsqueeze(-1), True)
        return torch.stack(logits, dim=2)


def at(candidates: Tensor, picked: Tensor) -> Tensor:
    """candidates: [B, K, Y] at positions picked: [B, N] → [B, N, Y]"""
    return candidates.gather(1, picked.unsqueeze(-1).expand(-1, -1, candidates.size(-1)))
