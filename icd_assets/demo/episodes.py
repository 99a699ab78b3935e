"""Training episodes of tiny_vl: a few turns under one freshly drawn knowledge table, as token tensors.

Since every episode has its own table, a lore answer can only be copied from an earlier turn with the same key
(shape and kind). Legend: `B` episodes, `N` turns of an episode, `T` tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icd_assets.demo.bank import Bank
from icd_assets.demo.pieces import IMAGE_TOKENS
from icd_assets.demo.world import ANSWERS, KINDS, LORE, SHAPES, Kind, Knowledge, Wording, all_wordings

Key = tuple[int, Kind]  # shape, kind of question


@dataclass(frozen=True, slots=True)
class Turn:
    image: int  # index in the bank
    question: str
    answer: str
    key: Key


@dataclass(frozen=True, slots=True)
class EpisodeBatch:
    """`B` episodes of `N` turns, padded on the right."""

    ids: Tensor  # [B, T]
    positions: Tensor  # [3, B, T] temporal, height and width position of Qwen2.5-VL's rotary embedding
    asks: Tensor  # [B, N] column of the token that the answer follows
    images: Tensor  # [B, N] indices in the bank
    shapes: Tensor  # [B, N]
    kinds: Tensor  # [B, N] indices in KINDS

    def same_key_before(self) -> Tensor:
        """[B, N, N] bool: turn j comes before turn i and has its key."""
        key = self.shapes * len(KINDS) + self.kinds
        return (key[:, :, None] == key[:, None]).tril(-1)

    def is_lore(self) -> Tensor:
        return self.kinds < len(LORE)


class TurnLayout:
    """Tokens and positions of turns, as processor and model make them: demonstration = user turn, answer."""

    def __init__(self, tokenizer: Any) -> None:
        def encode(text: str) -> list[int]:
            ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
            return ids

        self.pad_id: int = tokenizer.pad_token_id
        self.image_id: int = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self.head = encode("<|im_start|>user\n<|vision_start|>")
        self.questions = {
            wording.text: encode(f"<|vision_end|>{wording.text}<|im_end|>\n<|im_start|>assistant\n")
            for wording in all_wordings()
        }
        self.answers = {answer: encode(answer) for kind in KINDS for answer in ANSWERS[kind]}
        self.tail = encode("<|im_end|>\n")
        if any(len(ids) != 1 for ids in self.answers.values()):
            raise ValueError("every answer of the world must be one token")

    def batch(self, episodes: Sequence[Sequence[Turn]]) -> EpisodeBatch:
        laid = [self._lay(episode) for episode in episodes]
        length = max(len(ids) for ids, _, _ in laid)
        ids = torch.tensor([row + [self.pad_id] * (length - len(row)) for row, _, _ in laid])
        positions = torch.tensor([[(*p, *[0] * (length - len(p))) for p in rows] for _, rows, _ in laid])
        return EpisodeBatch(
            ids=ids,
            positions=positions.permute(1, 0, 2).contiguous(),
            asks=torch.tensor([asks for _, _, asks in laid]),
            images=torch.tensor([[turn.image for turn in episode] for episode in episodes]),
            shapes=torch.tensor([[turn.key[0] for turn in episode] for episode in episodes]),
            kinds=torch.tensor([[KINDS.index(turn.key[1]) for turn in episode] for episode in episodes]),
        )

    def _lay(self, turns: Sequence[Turn]) -> tuple[list[int], list[list[int]], list[int]]:
        """ids [T]; positions 3 × [T]; asks [N]. An image's 2×2 tokens take two positions (M-RoPE)."""
        ids: list[int] = []
        asks: list[int] = []
        positions: list[list[int]] = [[], [], []]
        here = 0
        for turn in turns:
            question = self.questions[turn.question]
            after = [*question, *self.answers[turn.answer], *self.tail]
            asks.append(len(ids) + len(self.head) + IMAGE_TOKENS + len(question) - 1)
            ids += [*self.head, *[self.image_id] * IMAGE_TOKENS, *after]
            for axis, offsets in zip(positions, ((0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 1)), strict=True):
                axis += range(here, here + len(self.head))
                axis += [here + len(self.head) + offset for offset in offsets]
                axis += range(here + len(self.head) + 2, here + len(self.head) + 2 + len(after))
            here += len(self.head) + 2 + len(after)
        return ids, positions, asks


def _turns(keys: Sequence[Key], bank: Bank, rng: random.Random) -> list[Turn]:
    """A picture and a wording for each key, answered from one fresh table."""
    knowledge = Knowledge.draw(rng)
    turns = []
    for key in keys:
        shape, kind = key
        image = rng.choice(bank.indices_of(shape))
        answer = knowledge.answer(bank.scenes[image], kind)
        turns.append(Turn(image, Wording.draw(kind, rng).text, answer, key))
    return turns


def training_episode(bank: Bank, turns: int, rng: random.Random) -> list[Turn]:
    """A mixed episode in which most lore turns, the last above all, repeat an earlier key.

    Nearly half of the episodes ask one kind only, so that the shape alone tells the right turn.
    """
    if rng.random() < 0.45:
        n_shapes, n_kinds = rng.choice((2, 3, 6)), 1
    else:
        n_shapes, n_kinds = rng.choice((3, 6)), rng.choice((2, 3))
    shapes = rng.sample(range(len(SHAPES)), n_shapes)
    kinds = rng.sample(LORE, n_kinds)
    keys: list[Key] = []
    for index in range(turns):
        seen = rng.random() < 0.1
        key: Key = (rng.choice(shapes), rng.choice(("shape", "color")) if seen else rng.choice(kinds))
        known = [earlier for earlier in keys if earlier[1] in LORE]
        repeat = 0.85 if index == turns - 1 else 0.4
        if not seen and known and rng.random() < repeat:
            key = rng.choice(known)
        keys.append(key)
    return _turns(keys, bank, rng)


def one_relevant_episode(bank: Bank, shots: int, rng: random.Random, *, same_kind: bool = False) -> list[Turn]:
    """One relevant demonstration among ``shots``, in random order, then the query.

    The others are random keys, or, with ``same_kind``, other shapes asked the query's own kind.
    """
    key: Key = (rng.randrange(len(SHAPES)), rng.choice(LORE))
    keys = [key]
    while len(keys) < shots:
        kind = key[1] if same_kind else rng.choice(LORE)
        other: Key = (rng.randrange(len(SHAPES)), kind)
        if not same_kind or other != key:
            keys.append(other)
    rng.shuffle(keys)
    return _turns([*keys, key], bank, rng)
