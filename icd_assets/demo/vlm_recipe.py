"""How tiny_vl is made: a ``Qwen2_5_VLForConditionalGeneration`` of 0.65 M parameters, from nothing.

1. The vision tower alone learns the four attributes through throw-away heads.
2. The whole model learns to answer the turns of episodes; the aids of ``vlm_losses`` fade out on the way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from icd_assets.demo.bank import Bank
from icd_assets.demo.episodes import TurnLayout, training_episode
from icd_assets.demo.pieces import qwen_image_processor, qwen_tokenizer
from icd_assets.demo.tiny_vl import config, look, read, to_patches
from icd_assets.demo.vlm_losses import Aids, answer_loss, cross_entropy
from icd_assets.demo.world import COLORS, PLACES, SHAPES
from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.runtime.seeding import python_rng, seed_for, torch_rng


@dataclass(frozen=True, slots=True)
class VlmRecipe:
    bank: int = 9000  # pictures
    vision_steps: int = 500
    vision_batch: int = 128
    steps: int = 1600
    batch: int = 40  # episodes
    turns: int = 5
    learning_rate: float = 2e-3
    aids_until: float = 0.85  # share of the steps after which the aids are gone


def train_vlm(recipe: VlmRecipe, seed: int, on_progress: OnProgress = ignore) -> Any:
    """The trained model; the same recipe and seed give the same weights on one CPU thread."""
    layout = TurnLayout(qwen_tokenizer())
    bank = Bank.draw(to_patches, recipe.bank, seed, "tiny_vl")
    with torch.random.fork_rng(devices=[]):  # transformers and torch draw initial weights globally
        torch.manual_seed(seed_for(seed, "tiny_vl", "weights"))
        model = Qwen2_5_VLForConditionalGeneration(config(qwen_tokenizer())).train()
        hidden = model.config.text_config.hidden_size
        heads = nn.ModuleList(nn.Linear(hidden, len(n)) for n in (SHAPES, COLORS, COLORS, PLACES))
        aids = Aids(hidden)
    total = recipe.vision_steps + recipe.steps
    _learn_to_see(model, heads, bank, recipe, seed, lambda done, _: on_progress(done, total))
    _learn_to_copy(
        model,
        aids,
        layout,
        bank,
        recipe,
        seed,
        lambda done, _: on_progress(recipe.vision_steps + done, total),
    )
    return model.eval()


def save_vlm(model: Any, folder: Path) -> None:
    """A folder that the plain transformers classes load."""
    model.save_pretrained(folder)
    qwen_tokenizer().save_pretrained(folder)
    qwen_image_processor().save_pretrained(folder)


def _learn_to_see(
    model: Any, heads: nn.ModuleList, bank: Bank, recipe: VlmRecipe, seed: int, on_progress: OnProgress
) -> None:
    visual = model.model.visual
    optimizer = torch.optim.AdamW([*visual.parameters(), *heads.parameters()], weight_decay=0.01)
    rng = torch_rng(seed, "tiny_vl", "see")
    for step in range(recipe.vision_steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 50) * (1 - 0.9 * step / recipe.vision_steps)
        index = torch.randint(len(bank), (recipe.vision_batch,), generator=rng)
        seen = look(model, bank.pixels[index]).mean(1)  # [vision_batch, H]
        losses = [cross_entropy(h(seen), bank.attributes[index, a]) for a, h in enumerate(heads)]
        loss = 2 * losses[0] + 1.5 * losses[1] + 0.3 * losses[2] + 0.3 * losses[3]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(visual.parameters(), 1.0)
        optimizer.step()
        on_progress(step + 1, recipe.vision_steps)


def _learn_to_copy(
    model: Any,
    aids: Aids,
    layout: TurnLayout,
    bank: Bank,
    recipe: VlmRecipe,
    seed: int,
    on_progress: OnProgress,
) -> None:
    optimizer = torch.optim.AdamW([*model.parameters(), *aids.parameters()], betas=(0.9, 0.98), weight_decay=0.02)
    rng = python_rng(seed, "tiny_vl", "copy")
    for step in range(recipe.steps):
        decay = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1, (step + 1) / 40) * decay
        batch = layout.batch([training_episode(bank, recipe.turns, rng) for _ in range(recipe.batch)])
        reading = read(model, batch, bank)
        loss = answer_loss(model, batch, reading)
        if (aid := 1 - step / (recipe.aids_until * recipe.steps)) > 0:
            loss = loss + aid * aids.loss(model, batch, reading, bank.attributes[batch.images.flatten(), :2])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        on_progress(step + 1, recipe.steps)
