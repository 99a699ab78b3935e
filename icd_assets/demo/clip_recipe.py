"""How tiny_clip is made: a ``CLIPModel`` of 0.24 M parameters, from nothing, on a CPU.

1. The vision tower alone learns the four attributes through throw-away heads.
2. Both towers learn the similarities of ``tiny_clip`` over pictures, their captions and questions; heads on
   the embeddings keep every attribute decodable, the quiet ones too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel

from icd_assets.demo.bank import Bank
from icd_assets.demo.pieces import clip_image_processor, clip_tokenizer
from icd_assets.demo.tiny_clip import (
    PICTURE_WEIGHTS,
    WIDTH,
    WORDING_WEIGHTS,
    config,
    embed_pictures,
    embed_texts,
    similarity,
    to_pixels,
    widen_initial_weights,
    wording_features,
)
from icd_assets.demo.world import COLORS, KINDS, OPENERS, PLACES, SHAPES, Wording, caption
from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.runtime.seeding import python_rng, seed_for, torch_rng

HEAD_SCALE = 20.0  # heads read 20 × the unit embedding, so that a quiet attribute is loud enough for them


@dataclass(frozen=True, slots=True)
class ClipRecipe:
    bank: int = 12000  # pictures
    vision_steps: int = 8000
    vision_batch: int = 64
    steps: int = 2400
    batch: int = 96  # pictures, as many captions, as many questions
    vision_rate: float = 2e-3
    rate: float = 1e-3


def train_clip(recipe: ClipRecipe, seed: int, on_progress: OnProgress = ignore) -> Any:
    """The trained model; the same recipe and seed give the same weights on one CPU thread."""
    tokenizer = clip_tokenizer()
    bank = Bank.draw(to_pixels, recipe.bank, seed, "tiny_clip")
    with torch.random.fork_rng(devices=[]):  # transformers and torch draw initial weights globally
        torch.manual_seed(seed_for(seed, "tiny_clip", "weights"))
        model = CLIPModel(config(tokenizer)).train()
        widen_initial_weights(model)
        picture_heads = nn.ModuleList(nn.Linear(WIDTH, len(n)) for n in (SHAPES, COLORS, COLORS, PLACES))
        text_heads = nn.ModuleList(nn.Linear(WIDTH, len(n)) for n in (KINDS, OPENERS))
    total = recipe.vision_steps + recipe.steps
    _learn_to_see(model, picture_heads, bank, recipe, seed, lambda done, _: on_progress(done, total))
    heads = (picture_heads, text_heads)
    _learn_to_compare(
        model,
        tokenizer,
        heads,
        bank,
        recipe,
        seed,
        lambda done, _: on_progress(recipe.vision_steps + done, total),
    )
    return model.eval()


def save_clip(model: Any, folder: Path) -> None:
    """A folder that the plain transformers classes load."""
    model.save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)
    clip_image_processor().save_pretrained(folder)


def _learn_to_see(
    model: Any, heads: nn.ModuleList, bank: Bank, recipe: ClipRecipe, seed: int, on_progress: OnProgress
) -> None:
    tower = [*model.vision_model.parameters(), *model.visual_projection.parameters()]
    optimizer = torch.optim.AdamW([*tower, *heads.parameters()], weight_decay=0.01)
    rng = torch_rng(seed, "tiny_clip", "see")
    for step in range(recipe.vision_steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.vision_rate * min(1, (step + 1) / 50) * (1 - 0.9 * step / recipe.vision_steps)
        index = torch.randint(len(bank), (recipe.vision_batch,), generator=rng)
        loss = _decoding_loss(heads, embed_pictures(model, bank.pixels[index]), bank.attributes[index])
        _step(optimizer, loss)
        on_progress(step + 1, recipe.vision_steps)


def _learn_to_compare(
    model: Any,
    tokenizer: Any,
    heads: tuple[nn.ModuleList, nn.ModuleList],
    bank: Bank,
    recipe: ClipRecipe,
    seed: int,
    on_progress: OnProgress,
) -> None:
    parameters = [*model.parameters(), *heads[0].parameters(), *heads[1].parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.02)
    rng = python_rng(seed, "tiny_clip", "compare")
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * min(1, (step + 1) / 50) * (1 - 0.98 * step / recipe.steps)
        index = rng.sample(range(len(bank)), recipe.batch)
        captions = [caption(bank.scenes[i], rng) for i in index]
        wordings = [Wording.draw(rng.choice(KINDS), rng) for _ in index]
        attributes, features = bank.attributes[index], wording_features(wordings)
        pictures = embed_pictures(model, bank.pixels[index])
        texts = embed_texts(model, tokenizer, [*captions, *(w.text for w in wordings)])
        questions = texts[recipe.batch :]
        loss = _similarity_loss(torch.cat([pictures, texts]), attributes, features)
        loss = loss + 0.1 * _decoding_loss(heads[0], pictures, attributes)
        loss = loss + 0.1 * _decoding_loss(heads[1], questions, features)
        _step(optimizer, loss)
        on_progress(step + 1, recipe.steps)


def _similarity_loss(embeddings: Tensor, attributes: Tensor, features: Tensor) -> Tensor:
    """Mean squared error of the cosines of [pictures; captions; questions] [3B, D], in units of 0.1."""
    like = similarity(attributes, PICTURE_WEIGHTS).repeat(2, 2)
    size = len(features)
    target = F.pad(like, (0, size, 0, size))  # pictures and questions have nothing in common
    target[-size:, -size:] = similarity(features, WORDING_WEIGHTS)
    return F.mse_loss(embeddings @ embeddings.T, target) / 0.1**2


def _decoding_loss(heads: nn.ModuleList, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropies of the linear heads; the first label is the key and counts double."""
    losses = [F.cross_entropy(head(HEAD_SCALE * embeddings), labels[:, i]) for i, head in enumerate(heads)]
    return losses[0] + torch.stack(losses).sum()


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
