"""Lever-Plus' pointer selector (SPEC E.1, E.2): cosine scores, and a state that is mixed with what was picked.

Legend: `B` queries, `N` pointers, `S` shots, `K` pool, `D` embedding, `H` hidden.

Deviations from upstream:
1. The forward pass is split into :meth:`encode` (once per query) and :meth:`step`, so that N pointers of a query
   share one encoding. With dropout they therefore share one mask; upstream draws one per pointer, as does
   :meth:`look_each` (``dropout_per``).
2. The number of shots is the pointer's length, not an attribute.
3. The temperature is a Python number; upstream's is a tensor outside the state dict. Same value, same keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from icd_assets.errors import UserError
from icd_assets.selector.architectures.interface import Encoded, PointerSelector, at
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

    def project(self, candidates: Tensor) -> tuple[Tensor, ...]:
        """(what the query attends to [..., H], unit vectors that are pointed at [..., H])"""
        pool = self.input_proj(candidates)
        return pool, functional.normalize(self.cand_proj(self.dropout(pool)), dim=-1)

    def look(self, query: Tensor, projected: tuple[Tensor, ...], closed: Tensor | None = None) -> Encoded:
        """Unit vectors [B, H], and the candidates as projected, [B or 1, K, H]; query: [B, D]."""
        pool, candidates = projected
        state = self.input_proj(query)
        for attention, norm in zip(self.cross_attn_layers, self.attn_norms, strict=True):
            assert isinstance(attention, nn.MultiheadAttention)
            state = norm(_seen(attention, state, pool, closed) + state)
        return Encoded(functional.normalize(self.query_proj(self.dropout(state)), dim=-1), candidates)

    def look_each(self, query: Tensor, candidates: Tensor, count: int) -> Encoded:
        """Dropout in upstream's order; what comes before the first of it is computed once for all pointers."""
        pool = self.input_proj(candidates)  # [B, K, H]
        state = self.input_proj(query).repeat_interleave(count, 0)  # [B·N, H]
        for attention, norm in zip(self.cross_attn_layers, self.attn_norms, strict=True):
            assert isinstance(attention, nn.MultiheadAttention)
            state = norm(_seen(attention, state, pool, None) + state)
        state = self.query_proj(self.dropout(state))
        each = self.cand_proj(self.dropout(pool.repeat_interleave(count, 0)))  # [B·N, K, H]
        return Encoded(functional.normalize(state, dim=-1), functional.normalize(each, dim=-1))

    def logits(self, state: Tensor, candidates: Tensor) -> Tensor:
        """Logits [B, N, K] of the next pick; state: [B, N, H], candidates: [B, K, H]."""
        return state @ candidates.transpose(1, 2) / TEMPERATURE

    def step(self, state: Tensor, candidates: Tensor, picked: Tensor) -> Tensor:
        """The state [B, N, H] after picking positions ``picked`` [B, N]: a gated mix, normalized again."""
        demonstration = at(candidates, picked)  # [B, N, H]
        gate = torch.sigmoid(self.query_update_gate(torch.cat((state, demonstration), dim=-1)))
        return functional.normalize(gate * state + (1 - gate) * demonstration, dim=-1)


def _seen(attention: nn.MultiheadAttention, state: Tensor, pool: Tensor, closed: Tensor | None) -> Tensor:
    """The attention of one state [B, H] to its pool [B or 1, K, H], without keys and values of K candidates:
    q·(W_k c) = (W_k^T q)·c, and Σ_k a_k·(W_v c_k + b) = W_v Σ_k a_k·c_k + b·Σ_k a_k. The keys' bias adds the same
    to every candidate, which the softmax takes away."""
    heads, width = attention.num_heads, attention.embed_dim
    of_query, of_key, of_value = attention.in_proj_weight.chunk(3)
    query_bias, _, value_bias = attention.in_proj_bias.chunk(3)
    asked = functional.linear(state, of_query, query_bias).view(-1, heads, width // heads)
    asked = _by_head(asked * (width // heads) ** -0.5, of_key.view(heads, -1, width))  # [B, h, H]
    shared = asked.view(pool.size(0), -1, width)  # of a pool that all share, every query's heads are rows
    scores = (shared @ pool.transpose(1, 2)).view(len(state), heads, -1)  # [B, h, K]
    if closed is not None:
        scores = scores.scatter(2, closed.view(-1, 1, 1).expand(-1, heads, 1), -torch.inf)
    weights = scores.softmax(-1)
    weights = functional.dropout(weights, attention.dropout, attention.training)
    seen = weights.view(len(pool), -1, weights.size(-1)) @ pool  # [B, h, H], or the rows of all queries
    seen = _by_head(seen.view(-1, heads, width), of_value.view(heads, -1, width).transpose(1, 2))
    seen = seen + weights.sum(-1, keepdim=True) * value_bias.view(heads, -1)
    found: Tensor = attention.out_proj(seen.flatten(1))
    return found


def _by_head(values: Tensor, weights: Tensor) -> Tensor:
    """values [B, h, x], weights [h, x, y] → [B, h, y]"""
    return (values.transpose(0, 1) @ weights).transpose(0, 1).contiguous()


def _near_identity(width: int) -> nn.Linear:
    """Identity plus 0.01·N(0, 1): an untrained selector compares embeddings almost as they are (SPEC E.1)."""
    layer = nn.Linear(width, width, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(width) + 0.01 * torch.randn(width, width))
    return layer
