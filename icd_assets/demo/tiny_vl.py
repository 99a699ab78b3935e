"""tiny_vl: its configuration, and its forward pass over whole episodes, batched for images of one size.

The pass gives the logits of ``Qwen2_5_VLForConditionalGeneration`` itself (a test asserts it), but runs all
images through the vision tower at once where transformers loops over them.
Legend: `M` images, `B` episodes, `N` turns, `T` tokens, `H` hidden, `V` vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_position_ids

from icd_assets.demo.bank import Bank
from icd_assets.demo.episodes import EpisodeBatch
from icd_assets.demo.pieces import IMAGE_TOKENS, PATCH, PIXELS, QWEN_SPECIALS, qwen_image_processor

GRID = PIXELS // PATCH  # patches per side
PATCHES = GRID * GRID


def config(tokenizer: Any) -> Qwen2_5_VLConfig:
    """Initial weights are wider than the default 0.02, with which nothing is seen at this width."""
    ids = {special: tokenizer.convert_tokens_to_ids(special) for special in QWEN_SPECIALS}
    hidden, heads = 96, 4
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": math.ceil(len(tokenizer) / 8) * 8,
            "hidden_size": hidden,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [3, 4, 5]},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
            "initializer_range": 0.06,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": hidden,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [0, 1],
            "initializer_range": 0.1,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def to_patches(images: list[Image.Image]) -> Tensor:
    """[M, 16, 588] by the real image processor; a still image's two frames are equal, one is kept."""
    flat: Tensor = qwen_image_processor()(images=images, return_tensors="pt")["pixel_values"]
    frames = flat.view(len(images), PATCHES, 3, 2, PATCH * PATCH)
    return frames[:, :, :, 0].reshape(len(images), PATCHES, 3 * PATCH * PATCH)


def look(model: Any, patches: Tensor) -> Tensor:
    """Image tokens [M, 4, H] of patches [M, 16, 588]: ``model.visual``, batched over equally sized images."""
    visual = model.model.visual
    count, width, heads = len(patches), visual.config.hidden_size, visual.config.num_heads
    kernel = visual.patch_embed.proj.weight.sum(2).reshape(width, -1)  # a 3-D convolution over two equal frames
    x = F.linear(patches.float(), kernel)
    cos, sin = visual.rotary_pos_emb(x, get_vision_position_ids(torch.tensor([[1, GRID, GRID]]), 2))
    for block in visual.blocks:
        qkv = block.attn.qkv(block.norm1(x)).view(count, PATCHES, 3, heads, width // heads)
        q, k, v = qkv.unbind(2)
        q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        x = x + block.attn.proj(mixed.transpose(1, 2).reshape(count, PATCHES, width))
        x = x + block.mlp(block.norm2(x))
    tokens: Tensor = visual.merger(x.reshape(count * PATCHES, width)).view(count, IMAGE_TOKENS, -1)
    return tokens


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model makes of a batch."""

    tokens: Tensor  # [B·N, 4, H] image tokens
    first: Tensor  # [B, T, H] output of the first layer
    last: Tensor  # [B, T, H] output of the last layer

    def words(self, model: Any, batch: EpisodeBatch) -> Tensor:
        """Logits [M, V] for each word of the answers."""
        logits: Tensor = model.lm_head(self.last[batch.rows, batch.asks])
        return logits

    def ends(self, model: Any, batch: EpisodeBatch) -> Tensor:
        """Logits [B, N, V] for the token after each answer."""
        logits: Tensor = model.lm_head(self.last[torch.arange(len(batch.ids))[:, None], batch.ends])
        return logits


def read(model: Any, batch: EpisodeBatch, bank: Bank) -> Reading:
    tokens = look(model, bank.pixels[batch.images.flatten()])
    language = model.model.language_model
    embedded = language.embed_tokens(batch.ids)
    is_image = (batch.ids == model.config.image_token_id).unsqueeze(-1)
    embedded = embedded.masked_scatter(is_image, tokens.reshape(-1, embedded.shape[-1]))
    out = language(
        inputs_embeds=embedded, position_ids=batch.positions, use_cache=False, output_hidden_states=True
    )
    return Reading(tokens, out.hidden_states[1], out.last_hidden_state)
