"""Lever-Plus' pointer selector (SPEC E.1, E.2): cosine scores, and a state that is mixed with what was picked.

Legend: `B` queries, `N` pointers, `S` shots, `K` pool, `D` embedding, `H` hidden.

Deviations from upstream:
1. The forward pass is split into :meth:`encode` (once per query) and :meth:`step`, so that N pointers of a query
   share one encoding. With dropout they therefore share one mask; upstream draws one per pointer.
2. The number of shots is the pointer's length, not an attribute.
3. The temperature is a Python number; upstream's is a tensor outside the state dict. Same value, same keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from icd_assets.errors import UserError
from icd_assets.selector.architectures.interface import MASKED, Encoded, PointerSelector, at
from icd_assets.selector.config import SelectorConfig

TEMPERATURE = 0.1


class PointerSelectorV2(PointerSelector):
    """``state_dict`` keys and shapes are upstream's; ``input_proj`` is absent when D equals H."""

    def __init__(self, config: SelectorConfig) -> None:
        super().__init__()
        if config.hidden_dim % config.num_heads:
            raise UserError(
                f"hidden_dim {config.hidden_dim} is not divisible by num_heads {config.num_heads}; fix one."
            )
        self.config = config
        width, heads = config.hidden_dim, config.num_heads
        self.input_proj: nn.Module = nn.Identity()
        if config.embedding_dim != width:
            self.input_proj = nn.Linear(config.embedding_dim, width, bias=False)
            nn.init.xavier_uniform_(self.input_proj.weight)
        self.cross_attn_layers = nn.ModuleList(
            nn.MultiheadAttention(width, heads, dropout=config.attn_dropout, batch_first=True)
            for _ in range(config.num_layers)
        )
        self.attn_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.num_layers))
        self.query_proj = _near_identity(width)
        self.cand_proj = _near_identity(width)
        self.query_update_gate = nn.Linear(2 * width, width)
        nn.init.xavier_uniform_(self.query_update_gate.weight)
        nn.init.zeros_(self.query_update_gate.bias)
        self.dropout = nn.Dropout(config.dropout)

    def encode(self, query: Tensor, candidates: Tensor) -> Encoded:
        """Unit vectors [B, H], [B, K, H]; query: [B, D], candidates: [B, K, D] (SPEC E.2, items 1 to 4)."""
        state = self.input_proj(query)  # [B, H]
        pool = self.input_proj(candidates)  # [B, K, H]
        for attention, norm in zip(self.cross_attn_layers, self.attn_norms, strict=True):
            seen, _ = attention(state.unsqueeze(1), pool, pool, need_weights=False)  # [B, 1, H]
            state = norm(seen.squeeze(1) + state)
        state = self.query_proj(self.dropout(state))
        pool = self.cand_proj(self.dropout(pool))
        return Encoded(functional.normalize(state, dim=-1), functional.normalize(pool, dim=-1))

    def scores(self, state: Tensor, candidates: Tensor, chosen: Tensor) -> Tensor:
        """Logits [B, N, K] of the next pick; state: [B, N, H], candidates: [B, K, H], chosen: [B, N, K] bool."""
        logits = state @ candidates.transpose(1, 2) / TEMPERATURE
        return logits.masked_fill(chosen, MASKED)

    def step(self, state: Tensor, candidates: Tensor, picked: Tensor) -> Tensor:
        """The state [B, N, H] after picking positions ``picked`` [B, N]: a gated mix, normalized again."""
        demonstration = at(candidates, picked)  # [B, N, H]
        gate = torch.sigmoid(self.query_update_gate(torch.cat((state, demonstration), dim=-1)))
        return functional.normalize(gate * state + (1 - gate) * demonstration, dim=-1)


def _near_identity(width: int) -> nn.Linear:
    """Identity plus 0.01·N(0, 1): an untrained selector compares embeddings almost as they are (SPEC E.1)."""
    layer = nn.Linear(width, width, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(width) + 0.01 * torch.randn(width, width))
    return layer
