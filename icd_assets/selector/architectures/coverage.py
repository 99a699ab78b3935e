"""Needs that picks cover: a query asks for several things, and what one pick shows need not be shown again.

Legend: `B` queries, `N` pointers, `K` pool, `D` embedding, `H` hidden, `A` aspects, d = H/A.

A candidate covers aspect h to the degree a_h = sigmoid(g_h·(cos(W_h q, W_h c) − t_h)): it is alike in that aspect,
by one projection for query and candidate. The query needs u_h; a pick takes away what it covers, all but a share
r_h that a repetition still meets, so that after everything is covered the relevant still comes first:
    logit(c) = scale·Σ_h u_h·(r_h + (1 − r_h)·Π_picks (1 − a_h(p)))·a_h(c)
With r = 0 this is the marginal gain of the probabilistic coverage Σ_h u_h·(1 − Π_c (1 − a_h(c))) of El-Arini et
al. (KDD 2009, "Turning down the noise in the blogosphere"), which is submodular; with r = 1 picks do not matter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from icd_assets.errors import UserError
from icd_assets.selector.architectures.interface import Encoded, PointerSelector, at
from icd_assets.selector.config import SelectorConfig

_SHARPNESS, _THRESHOLD, _SCALE, _REPETITION = 6.0, 0.5, 6.0, 0.05  # where g, t, scale and r start


class CoverageSelector(PointerSelector):
    """X = 2·A: needs that are left, and all of them; Y = A: how far each candidate covers them."""

    def __init__(self, config: SelectorConfig) -> None:
        super().__init__()
        if config.hidden_dim % config.aspects:
            raise UserError(
                f"hidden_dim {config.hidden_dim} is not divisible by aspects {config.aspects}; fix one."
            )
        self.config = config
        self.aspect_proj = nn.Linear(config.embedding_dim, config.hidden_dim, bias=False)
        self.need = nn.Linear(config.embedding_dim, config.aspects)
        self.log_sharpness = nn.Parameter(torch.full((config.aspects,), math.log(_SHARPNESS)))
        self.threshold = nn.Parameter(torch.full((config.aspects,), _THRESHOLD))
        self.repetition = nn.Parameter(torch.full((config.aspects,), math.log(_REPETITION / (1 - _REPETITION))))
        self.log_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self.dropout = nn.Dropout(config.dropout)

    def encode(self, query: Tensor, candidates: Tensor) -> Encoded:
        """Needs [B, 2·A], coverage [B, K, A] in (0, 1); query: [B, D], candidates: [B, K, D]."""
        query = self.dropout(query)  # drawn before the candidates'
        return self._covered(query, *self.project(candidates))

    def project(self, candidates: Tensor) -> tuple[Tensor, ...]:
        """Unit vectors [..., A, d]."""
        return (self._aspects(self.dropout(candidates)),)

    def look(self, query: Tensor, projected: tuple[Tensor, ...], closed: Tensor | None = None) -> Encoded:
        """Needs [B, 2·A], coverage [B, K, A]; query: [B, D], projected: [B or 1, K, A, d]."""
        return self._covered(self.dropout(query), *projected)

    def _covered(self, query: Tensor, projected: Tensor) -> Encoded:
        alike = (self._aspects(query).unsqueeze(1) * projected).sum(-1)  # [B, K, A] cosines
        covered = torch.sigmoid(self.log_sharpness.exp() * (alike - self.threshold))
        need = functional.softplus(self.need(query))
        return Encoded(torch.cat((need, need), dim=-1), covered)

    def _aspects(self, embedded: Tensor) -> Tensor:
        """[..., D] → unit vectors [..., A, d]"""
        return functional.normalize(self.aspect_proj(embedded).unflatten(-1, (self.config.aspects, -1)), dim=-1)

    def logits(self, state: Tensor, candidates: Tensor) -> Tensor:
        """Logits [B, N, K] of the next pick; state: [B, N, 2·A], candidates: [B, K, A]."""
        left, whole = state.chunk(2, dim=-1)
        gain = torch.lerp(left, whole, self.repetition.sigmoid()) @ candidates.transpose(1, 2)
        return self.log_scale.exp() * gain

    def step(self, state: Tensor, candidates: Tensor, picked: Tensor) -> Tensor:
        """The needs [B, N, 2·A] after picking positions ``picked`` [B, N]."""
        left, whole = state.chunk(2, dim=-1)
        return torch.cat((left * (1 - at(candidates, picked)), whole), dim=-1)
