"""What tiny_vl is trained on: the answers, and three aids that make copying emerge.

Without the aids it learns in hundreds of steps to match the kind of question, but never the look.
Legend: `B` episodes, `M` words of their answers, `T` tokens, `H` hidden, `h` heads, `d` head width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb

from icd_assets.demo.episodes import EpisodeBatch
from icd_assets.demo.tiny_vl import Reading
from icd_assets.demo.world import COLORS, KINDS, SHAPES

TARGET_HEADS = 2  # heads of the second layer that the attention target teaches


class Aids(nn.Module):
    """Heads that read shape, color and kind from the first layer's output, and the look from the image tokens."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.at_ask = nn.Linear(hidden, len(SHAPES) + len(COLORS) + len(KINDS))
        self.at_answer = nn.Linear(hidden, len(SHAPES) + len(COLORS) + len(KINDS))
        self.at_image = nn.Linear(hidden, len(SHAPES) + len(COLORS))

    def loss(self, model: Any, batch: EpisodeBatch, reading: Reading, looks: Tensor) -> Tensor:
        """The heads' cross-entropies and the attention target, weighted; looks [B·N, 2] shape, color."""
        keys = torch.zeros(())
        for head, offset in ((self.at_ask, 0), (self.at_answer, 1)):
            shape, color, kind = head(reading.first[batch.rows, batch.asks + offset]).split(
                (len(SHAPES), len(COLORS), len(KINDS)), dim=-1
            )
            keys = keys + cross_entropy(shape, batch.shapes) + cross_entropy(kind, batch.kinds)
            keys = keys + cross_entropy(color, batch.colors)
        shape, color = self.at_image(reading.tokens.mean(1)).split((len(SHAPES), len(COLORS)), dim=-1)
        image = cross_entropy(shape, looks[:, 0]) + cross_entropy(color, looks[:, 1])
        return 0.15 * keys + 0.3 * image + 0.5 * attention_loss(model, batch, reading.first)


def attention_loss(model: Any, batch: EpisodeBatch, first: Tensor) -> Tensor:
    """−log of the attention that a word's ask pays, in layer 2, to the words of earlier turns with its key."""
    language, layer = model.model.language_model, model.model.language_model.layers[1]
    x = layer.input_layernorm(first)
    size, length, hidden = x.shape
    heads = language.config.num_attention_heads
    q, k = (
        project(x).view(size, length, heads, hidden // heads).transpose(1, 2)
        for project in (layer.self_attn.q_proj, layer.self_attn.k_proj)
    )
    q, k = apply_rotary_pos_emb(q, k, *language.rotary_emb(x, batch.positions))  # [B, h, T, d]
    q = q[:, :TARGET_HEADS].transpose(1, 2)[batch.rows, batch.asks]  # [M, h, d]
    scores = torch.einsum("mhd,mhtd->mht", q, k[:, :TARGET_HEADS][batch.rows]) * (hidden // heads) ** -0.5
    future = torch.arange(length) > batch.asks[:, None]  # [M, T]
    log_attention = scores.masked_fill(future[:, None], -1e9).log_softmax(-1)
    same = batch.same_key_before()
    source = torch.zeros_like(future)
    word, earlier = same.nonzero(as_tuple=True)
    source[word, batch.asks[earlier] + 1] = True
    paid = log_attention.masked_fill(~source[:, None], -1e9).logsumexp(-1)  # [M, h]
    known = (same.any(-1) & batch.is_lore())[:, None]
    loss: Tensor = -(paid * known).sum() / (TARGET_HEADS * known.sum()).clamp(min=1)
    return loss


def answer_loss(model: Any, batch: EpisodeBatch, reading: Reading) -> Tensor:
    """Cross-entropy of the answers; a lore word that no earlier turn shows is a guess and hardly counts."""
    shown = batch.same_key_before().any(-1)
    weight = torch.where(batch.is_lore(), torch.where(shown, 1.0, 0.03), 0.3)  # [M]
    loss = cross_entropy(reading.words(model, batch), batch.targets(), weight)
    after = batch.ids[torch.arange(len(batch.ids))[:, None], batch.ends + 1]  # [B, N]
    return loss + 0.02 * cross_entropy(reading.ends(model, batch), after)


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The (weighted) mean over all positions of ``target`` [...]; logits [..., C]."""
    losses = F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none")
    if weight is None:
        return losses.mean()
    return (losses * weight.flatten()).sum() / weight.sum()
