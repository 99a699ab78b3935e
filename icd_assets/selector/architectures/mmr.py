"""Learned maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): relevant, and unlike what was picked.

Legend: `B` queries, `N` pointers, `K` pool, `D` embedding, `H` hidden.
logits = scale·(cos(W q, W c) − λ(q)·max over picks p of cos(V c, V p)), with λ(q) = softplus of a linear layer.
Relevance and redundancy have a projection each; before the first pick the redundancy is the same for all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from icd_assets.selector.architectures.interface import Encoded, PointerSelector, at
from icd_assets.selector.config import SelectorConfig

_SCALE = 10.0  # as v2's temperature of 0.1


class MmrSelector(PointerSelector):
    """X = H + 1 + K: the query, λ, and each candidate's largest similarity to a pick; Y = 2·H."""

    def __init__(self, config: SelectorConfig) -> None:
        super().__init__()
        self.config = config
        self.relevance_proj = nn.Linear(config.embedding_dim, config.hidden_dim, bias=False)
        self.similarity_proj = nn.Linear(config.embedding_dim, config.hidden_dim, bias=False)
        self.trade_off = nn.Linear(config.embedding_dim, 1)
        self.log_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self.dropout = nn.Dropout(config.dropout)

    def encode(self, query: Tensor, candidates: Tensor) -> Encoded:
        """State [B, H + 1 + K], candidates [B, K, 2·H]; query: [B, D], candidates: [B, K, D]."""
        query = self.dropout(query)  # drawn before the candidates'
        return self._asked(query, *self.project(candidates))

    def project(self, candidates: Tensor) -> tuple[Tensor, ...]:
        """Unit vectors [..., 2·H] for relevance and for redundancy."""
        candidates = self.dropout(candidates)
        relevant = functional.normalize(self.relevance_proj(candidates), dim=-1)
        similar = functional.normalize(self.similarity_proj(candidates), dim=-1)
        return (torch.cat((relevant, similar), dim=-1),)

    def look(self, query: Tensor, projected: tuple[Tensor, ...], closed: Tensor | None = None) -> Encoded:
        """State [B, H + 1 + K], candidates as projected; query: [B, D], projected: [B or 1, K, 2·H]."""
        return self._asked(self.dropout(query), *projected)

    def _asked(self, query: Tensor, projected: Tensor) -> Encoded:
        asked = functional.normalize(self.relevance_proj(query), dim=-1)
        weight = functional.softplus(self.trade_off(query))  # [B, 1]
        # The smallest cosine: any pick is nearer.
        nothing_picked = query.new_full((len(query), projected.size(1)), -1.0)
        return Encoded(torch.cat((asked, weight, nothing_picked), dim=-1), projected)

    def logits(self, state: Tensor, candidates: Tensor) -> Tensor:
        """Logits [B, N, K]; state: [B, N, H + 1 + K], candidates: [B, K, 2·H]."""
        width = self.config.hidden_dim
        relevance = state[..., :width] @ candidates[..., :width].transpose(1, 2)
        redundancy = state[..., width : width + 1] * state[..., width + 1 :]
        return self.log_scale.exp() * (relevance - redundancy)

    def step(self, state: Tensor, candidates: Tensor, picked: Tensor) -> Tensor:
        """The state with the largest similarities after picking positions ``picked`` [B, N]."""
        width = self.config.hidden_dim
        similar = candidates[..., width:]
        nearest = torch.maximum(state[..., width + 1 :], at(similar, picked) @ similar.transpose(1, 2))
        return torch.cat((state[..., : width + 1], nearest), dim=-1)
