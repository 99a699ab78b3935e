"""What the tiny models are worth, on pictures and knowledge that training never saw.

Legend: `M` rows, `D` embedding, `A` attributes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from icd_assets.demo import tiny_clip, tiny_vl
from icd_assets.demo.bank import Bank
from icd_assets.demo.episodes import Turn, TurnLayout, one_relevant_episode, two_word_episode
from icd_assets.demo.world import KINDS, Wording
from icd_assets.runtime.seeding import python_rng

PICTURE_ATTRIBUTES = ("shape", "color", "background", "place")
WORDING_ATTRIBUTES = ("kind", "opener", "core")


def copying(model: Any, tokenizer: Any, *, shots: int, prompts: int, seed: int, same_kind: bool = False) -> float:
    """Share of one-word lore questions answered with one relevant demonstration among ``shots``."""
    names = ("copying", str(shots), str(int(same_kind)))
    return _share_right(
        model,
        tokenizer,
        prompts,
        seed,
        names,
        lambda bank, rng: one_relevant_episode(bank, shots, rng, same_kind=same_kind),
    )


def two_words(model: Any, tokenizer: Any, *, alike: Sequence[str], prompts: int, seed: int) -> float:
    """Share of two-word questions answered whole, with a demonstration for each of ``alike``."""
    names = ("two words", *alike)
    return _share_right(
        model, tokenizer, prompts, seed, names, lambda bank, rng: two_word_episode(bank, alike, rng)
    )


def _share_right(
    model: Any,
    tokenizer: Any,
    prompts: int,
    seed: int,
    names: Sequence[str],
    draw: Callable[[Bank, random.Random], list[Turn]],
) -> float:
    """Share of episodes in which every word of the last turn's answer is the likeliest."""
    bank = Bank.draw(tiny_vl.to_patches, max(600, prompts), seed, "measure", *names)
    rng = python_rng(seed, "measure", *names)
    layout = TurnLayout(tokenizer)
    right = 0
    for start in range(0, prompts, 100):
        batch = layout.batch([draw(bank, rng) for _ in range(min(100, prompts - start))])
        with torch.no_grad():
            wrong = tiny_vl.read(model, batch, bank).words(model, batch).argmax(-1) != batch.targets()
        last = batch.turns == batch.images.shape[1] - 1
        right += len(batch.ids) - len(set(batch.rows[wrong & last].tolist()))
    return right / prompts


def embeddings(model: Any, tokenizer: Any, rows: int, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """{picture, question, combined: [M, D]} and labels [M, 7]: of the picture, then of the wording."""
    bank = Bank.draw(tiny_clip.to_pixels, rows, seed, "measure", "embeddings")
    rng = python_rng(seed, "measure", "wordings")
    wordings = [Wording.draw(rng.choice(KINDS), rng) for _ in range(rows)]
    with torch.no_grad():
        pictures = tiny_clip.embed_pictures(model, bank.pixels)
        questions = tiny_clip.embed_texts(model, tokenizer, [wording.text for wording in wordings])
    named = {"picture": pictures, "question": questions, "combined": tiny_clip.combine(pictures, questions)}
    return named, torch.cat([bank.attributes, tiny_clip.wording_features(wordings)], dim=1)


def probe(features: Tensor, labels: Tensor) -> float:
    """Accuracy of a linear classifier (ridge regression to one-hot labels), fitted on half of the rows."""
    half = len(features) // 2
    x = F.pad(features.double(), (0, 1), value=1.0)
    y = F.one_hot(labels, int(labels.max()) + 1).double()
    gram = x[:half].T @ x[:half] + 1e-3 * torch.eye(x.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, x[:half].T @ y[:half])
    return float(((x[half:] @ weights).argmax(-1) == labels[half:]).double().mean())


def neighbor_match(features: Tensor, labels: Tensor, seed: int, pool: int = 64) -> list[float]:
    """For each of `A` labels [M, A]: how often the nearest of ``pool`` random others (cosine) shares it."""
    rng = python_rng(seed, "measure", "neighbors")
    matches = torch.zeros(labels.shape[1], dtype=torch.float64)
    for row in range(len(features)):
        others = [o for o in rng.sample(range(len(features)), pool + 1) if o != row][:pool]
        nearest = others[int((features[others] @ features[row]).argmax())]
        matches += labels[nearest] == labels[row]
    return [float(share) for share in matches / len(features)]
