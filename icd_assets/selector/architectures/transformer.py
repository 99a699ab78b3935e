"""A small causal transformer over the query and what was picked (Vaswani et al., arXiv 1706.03762).

Legend: `B` queries, `N` pointers, `K` pool, `D` embedding, `H` hidden, `T` 1 + picks so far.
The state is the sequence of inputs, X = T·H. The output at the last position is compared with the candidates,
by cosine. Positions are not encoded: the causal mask alone tells an earlier pick from a later one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from icd_assets.errors import UserError
from icd_assets.selector.architectures.interface import Encoded, PointerSelector, at
from icd_assets.selector.config import SelectorConfig

_TEMPERATURE = 0.1  # v2's


class TransformerSelector(PointerSelector):
    """A candidate is kept as what is compared and as what the sequence takes in: Y = 2·H."""

    def __init__(self, config: SelectorConfig) -> None:
        super().__init__()
        width, heads = config.hidden_dim, config.num_heads
        if width % heads:
            raise UserError(f"hidden_dim {width} is not divisible by num_heads {heads}; fix one.")
        self.config = config
        self.query_in = nn.Linear(config.embedding_dim, width)
        self.pick_in = nn.Linear(config.embedding_dim, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout=config.attn_dropout, batch_first=True, norm_first=True
            )
            for _ in range(config.num_layers)
        )
        self.query_proj = nn.Linear(width, width)
        self.cand_proj = nn.Linear(config.embedding_dim, width)
        self.dropout = nn.Dropout(config.dropout)

    def set_dropout(self, dropout: float, attn_dropout: float) -> None:
        """``attn_dropout`` is that of the whole layers."""
        super().set_dropout(dropout, attn_dropout)
        for module in self.layers.modules():
            if isinstance(module, nn.Dropout):
                module.p = attn_dropout

    def encode(self, query: Tensor, candidates: Tensor) -> Encoded:
        """State [B, H], candidates [B, K, 2·H]; query: [B, D], candidates: [B, K, D]."""
        return self.look(query, self.project(candidates))

    def project(self, candidates: Tensor) -> tuple[Tensor, ...]:
        """(what is compared, what the sequence takes in) as [..., 2·H]"""
        candidates = self.dropout(candidates)
        compared = functional.normalize(self.cand_proj(candidates), dim=-1)
        return (torch.cat((compared, self.pick_in(candidates)), dim=-1),)

    def look(self, query: Tensor, projected: tuple[Tensor, ...], closed: Tensor | None = None) -> Encoded:
        """State [B, H], candidates as projected; query: [B, D], projected: [B or 1, K, 2·H]."""
        return Encoded(self.query_in(self.dropout(query)), projected[0])

    def logits(self, state: Tensor, candidates: Tensor) -> Tensor:
        """Logits [B, N, K]; state: [B, N, T·H], candidates: [B, K, 2·H]."""
        width = self.config.hidden_dim
        sequence = state.reshape(-1, state.size(-1) // width, width)  # [B·N, T, H]
        length = sequence.size(1)
        future = torch.ones(length, length, dtype=torch.bool, device=state.device).triu(1)
        for layer in self.layers:
            sequence = layer(sequence, src_mask=future)
        last = functional.normalize(self.query_proj(sequence[:, -1]), dim=-1).view(*state.shape[:2], width)
        return last @ candidates[..., :width].transpose(1, 2) / _TEMPERATURE

    def step(self, state: Tensor, candidates: Tensor, picked: Tensor) -> Tensor:
        """The sequence [B, N, (T + 1)·H] with the pick at its end."""
        return torch.cat((state, at(candidates[..., self.config.hidden_dim :], picked)), dim=-1)
