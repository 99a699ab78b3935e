"""tiny_clip: its configuration, what it embeds, and the similarities that it is taught.

A contrastive loss over captions learns colors first and shapes hardly ever, and nobody can say how loud each
attribute ends up. So the similarity is set, not hoped for: the cosine of two pictures (or captions) is the
weighted share of attributes they have in common, that of two questions the weighted share of wording, and
that of a picture and a question is 0. The key is quiet and the nuisances are loud, yet all is decodable.
Legend: `M` rows, `D` embedding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPConfig

from icd_assets.demo.pieces import PIXELS, clip_image_processor
from icd_assets.demo.world import CORES, KINDS, Wording

PICTURE_WEIGHTS = {"shape": 0.2, "color": 0.3, "background": 0.3, "place": 0.2}
WORDING_WEIGHTS = {"kind": 0.25, "opener": 0.5, "core": 0.25}

WIDTH = 64
CLIP_PATCH = 14


def config(tokenizer: Any) -> CLIPConfig:
    tower = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": WIDTH,
    }
    text = {
        **tower,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**tower, "num_hidden_layers": 3, "image_size": PIXELS, "patch_size": CLIP_PATCH}
    return CLIPConfig(projection_dim=WIDTH, text_config=text, vision_config=vision)


def widen_initial_weights(model: Any) -> None:
    """Patches and their places must be told apart from the first step; the defaults (0.02) learn shapes slowly."""
    embeddings = model.vision_model.embeddings
    nn.init.normal_(embeddings.patch_embedding.weight, std=0.1)
    nn.init.normal_(embeddings.position_embedding.weight, std=1.0)


def to_pixels(images: list[Image.Image]) -> Tensor:
    """[M, 3, 56, 56] by the real image processor."""
    pixels: Tensor = clip_image_processor()(images=images, return_tensors="pt")["pixel_values"]
    return pixels


def embed_pictures(model: Any, pixels: Tensor) -> Tensor:
    """[M, D], unit length."""
    pooled = model.vision_model(pixel_values=pixels.float()).pooler_output
    return F.normalize(model.visual_projection(pooled), dim=-1)


def embed_texts(model: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    """[M, D], unit length."""
    pooled = model.text_model(**tokenizer(texts, padding=True, return_tensors="pt")).pooler_output
    return F.normalize(model.text_projection(pooled), dim=-1)


def combine(pictures: Tensor, texts: Tensor) -> Tensor:
    """The selector's embedding (SPEC E.3): normalize(mean(picture, question))."""
    return F.normalize((pictures + texts) / 2, dim=-1)


def wording_features(wordings: list[Wording]) -> Tensor:
    """[M, 3] long: kind, opener, core (numbered over all kinds)."""
    first_core = [sum(len(CORES[earlier]) for earlier in KINDS[:index]) for index in range(len(KINDS))]
    rows = [(KINDS.index(w.kind), w.opener, first_core[KINDS.index(w.kind)] + w.core) for w in wordings]
    return torch.tensor(rows)


def similarity(features: Tensor, weights: dict[str, float]) -> Tensor:
    """[M, M] weighted share of equal features [M, A]; 1 on the diagonal."""
    same = features[:, None] == features[None]  # [M, M, A]
    return (same * torch.tensor(list(weights.values()))).sum(-1)
