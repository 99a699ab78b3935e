"""v2 with additive scores, v·tanh(W·state + U·candidate) (Bahdanau et al., arXiv 1409.0473, appendix A.1.2).

Legend: `B` queries, `N` pointers, `K` pool, `H` hidden.
The scores of pointer networks (Vinyals et al., arXiv 1506.03134): state and candidate are not compared, but
related by a small network, so that a state near a pick need not prefer its like.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icd_assets.selector.architectures.interface import Encoded
from icd_assets.selector.architectures.v2 import PointerSelectorV2
from icd_assets.selector.config import SelectorConfig


class AdditiveSelector(PointerSelectorV2):
    """Encodes and updates as v2 does. A candidate is kept with its projection U·c: Y = 2·H."""

    def __init__(self, config: SelectorConfig) -> None:
        super().__init__(config)
        width = config.hidden_dim
        self.state_key = nn.Linear(width, width)
        self.cand_key = nn.Linear(width, width, bias=False)
        self.energy = nn.Linear(width, 1, bias=False)

    def encode(self, query: Tensor, candidates: Tensor) -> Encoded:
        """State [B, H], candidates [B, K, 2·H]; query: [B, D], candidates: [B, K, D]."""
        state, pool = super().encode(query, candidates)
        return Encoded(state, torch.cat((pool, self.cand_key(pool)), dim=-1))

    def project(self, candidates: Tensor) -> tuple[Tensor, ...]:
        """v2's, the latter with its projection U·c: ([..., H], [..., 2·H])"""
        attended, pointed = super().project(candidates)
        return attended, torch.cat((pointed, self.cand_key(pointed)), dim=-1)

    def logits(self, state: Tensor, candidates: Tensor) -> Tensor:
        """Logits [B, N, K] of the next pick; state: [B, N, H], candidates: [B, K, 2·H]."""
        keys = candidates[..., self.config.hidden_dim :]  # [B, K, H]
        related = torch.tanh(self.state_key(state).unsqueeze(2) + keys.unsqueeze(1))  # [B, N, K, H]
        logits: Tensor = self.energy(related).squeeze(-1)
        return logits

    def step(self, state: Tensor, candidates: Tensor, picked: Tensor) -> Tensor:
        """v2's gated mix."""
        return super().step(state, candidates[..., : self.config.hidden_dim], picked)
