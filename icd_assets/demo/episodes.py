"""Training episodes of tiny_vl: a few turns under one freshly drawn knowledge, as token tensors.

Since every episode has its own knowledge, a word of a lore answer can only be copied from an earlier turn with
the same key: kind, and the shape (or, for a second word, the color).
Legend: `B` episodes, `N` turns of an episode, `T` tokens, `M` answer words of the batch (one or two a turn).
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
from icd_assets.demo.world import (
    ANSWERS,
    COLORS,
    KINDS,
    LORE,
    SHAPES,
    TWO_WORD,
    Kind,
    Knowledge,
    Wording,
    all_wordings,
)

Key = tuple[Kind, int, int]  # kind, number of the answer's word, shape or color that decides it
WORDS = 2  # at most, of an answer
VALUES = max(len(SHAPES), len(COLORS))


@dataclass(frozen=True, slots=True)
class Turn:
    image: int  # index in the bank
    question: str
    answer: str
    kind: Kind
    shape: int
    color: int

    @property
    def keys(self) -> tuple[Key, ...]:
        """The key of each word of the answer."""
        if self.kind == "color":
            return ((self.kind, 0, self.color),)
        first: Key = (self.kind, 0, self.shape)
        return (first, (self.kind, 1, self.color)) if self.kind in TWO_WORD else (first,)


@dataclass(frozen=True, slots=True)
class EpisodeBatch:
    """`B` episodes of `N` turns, padded on the right, and the `M` words of their answers in reading order."""

    ids: Tensor  # [B, T]
    positions: Tensor  # [3, B, T] temporal, height and width position of Qwen2.5-VL's rotary embedding
    images: Tensor  # [B, N] indices in the bank
    ends: Tensor  # [B, N] column of the answer's last token
    rows: Tensor  # [M] episode of each word
    turns: Tensor  # [M] its turn
    asks: Tensor  # [M] column of the token that the word follows
    keys: Tensor  # [M] its key as a number
    kinds: Tensor  # [M] indices in KINDS
    shapes: Tensor  # [M]
    colors: Tensor  # [M]

    def same_key_before(self) -> Tensor:
        """[M, M] bool: word j is of an earlier turn of word i's episode and has its key."""
        here = (self.rows[:, None] == self.rows) & (self.turns[:, None] > self.turns)
        return here & (self.keys[:, None] == self.keys)

    def is_lore(self) -> Tensor:
        """[M] bool: the word is known from knowledge, not seen."""
        return torch.tensor([kind not in ("shape", "color") for kind in KINDS])[self.kinds]

    def targets(self) -> Tensor:
        """[M] the words' token ids."""
        return self.ids[self.rows, self.asks + 1]


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
        if any(len(ids) != len(answer.split()) for answer, ids in self.answers.items()):
            raise ValueError("every word of the world's answers must be one token")

    def batch(self, episodes: Sequence[Sequence[Turn]]) -> EpisodeBatch:
        laid = [self._lay(episode) for episode in episodes]
        length = max(len(ids) for ids, _, _ in laid)
        ids = torch.tensor([row + [self.pad_id] * (length - len(row)) for row, _, _ in laid])
        positions = torch.tensor([[(*p, *[0] * (length - len(p))) for p in rows] for _, rows, _ in laid])
        words = [
            (row, number, ask + word, _number(key), KINDS.index(turn.kind), turn.shape, turn.color)
            for row, episode in enumerate(episodes)
            for number, (turn, ask) in enumerate(zip(episode, laid[row][2], strict=True))
            for word, key in enumerate(turn.keys)
        ]
        rows, turns, asks, keys, kinds, shapes, colors = torch.tensor(words).unbind(1)
        ends = [
            [ask + len(turn.keys) for turn, ask in zip(episode, columns, strict=True)]
            for episode, (_, _, columns) in zip(episodes, laid, strict=True)
        ]
        return EpisodeBatch(
            ids=ids,
            positions=positions.permute(1, 0, 2).contiguous(),
            images=torch.tensor([[turn.image for turn in episode] for episode in episodes]),
            ends=torch.tensor(ends),
            rows=rows,
            turns=turns,
            asks=asks,
            keys=keys,
            kinds=kinds,
            shapes=shapes,
            colors=colors,
        )

    def _lay(self, turns: Sequence[Turn]) -> tuple[list[int], list[list[int]], list[int]]:
        """ids [T]; positions 3 × [T]; column that each answer follows [N]. An image's 2×2 tokens take two
        positions (M-RoPE)."""
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


def _number(key: Key) -> int:
    kind, word, value = key
    return (KINDS.index(kind) * WORDS + word) * VALUES + value


def turn(image: int, kind: Kind, bank: Bank, knowledge: Knowledge, rng: random.Random) -> Turn:
    """The picture asked one question of the kind, and answered."""
    scene = bank.scenes[image]
    answer = knowledge.answer(scene, kind)
    return Turn(image, Wording.draw(kind, rng).text, answer, kind, scene.shape, scene.color)


def training_episode(bank: Bank, turns: int, rng: random.Random) -> list[Turn]:
    """A mixed episode in which most lore turns, the last above all, repeat earlier keys.

    Half of the episodes ask one kind only, so that the look alone tells the right turn. A two-word question
    repeats the shape of one earlier turn and the color of one, which need not be the same.
    """
    if rng.random() < 0.4:
        kinds = rng.sample(LORE, 1 if rng.random() < 0.45 else rng.choice((2, 3)))
    else:
        kinds = rng.sample(TWO_WORD, 1 if rng.random() < 0.7 else rng.choice((2, 3)))
        if rng.random() < 0.15:
            kinds += rng.sample(LORE, rng.choice((1, 2)))
    shapes = rng.sample(range(len(SHAPES)), rng.choice((2, 3, 6) if len(kinds) == 1 else (3, 6)))
    colors = rng.sample(range(len(COLORS)), rng.choice((2, 3, 4, 8)))
    knowledge = Knowledge.draw(rng)
    drawn: list[Turn] = []
    for index in range(turns):
        repeat = 0.85 if index == turns - 1 else 0.4
        kind, shape, color = rng.choice(kinds), rng.choice(shapes), rng.choice(colors)
        lore = [earlier for earlier in drawn if earlier.kind in kinds]
        if rng.random() < 0.1:
            kind = rng.choice(("shape", "color"))
        elif lore and rng.random() < repeat:
            kind = rng.choice(lore).kind
            known = [earlier for earlier in lore if earlier.kind == kind]
            shape = rng.choice(known).shape
            if rng.random() < 0.9:
                color = rng.choice(known).color
        elif kind in TWO_WORD and (known := [earlier for earlier in lore if earlier.kind == kind]):
            color = rng.choice(known).color if rng.random() < 0.5 else color
        image = rng.choice(bank.indices_of(shape, color if kind in TWO_WORD else None))
        drawn.append(turn(image, kind, bank, knowledge, rng))
    return drawn


def one_relevant_episode(bank: Bank, shots: int, rng: random.Random, *, same_kind: bool = False) -> list[Turn]:
    """One relevant demonstration among ``shots``, in random order, then the query.

    The others are random keys, or, with ``same_kind``, other shapes asked the query's own kind.
    """
    key = (rng.randrange(len(SHAPES)), rng.choice(LORE))
    keys = [key]
    while len(keys) < shots:
        other = (rng.randrange(len(SHAPES)), key[1] if same_kind else rng.choice(LORE))
        if not same_kind or other != key:
            keys.append(other)
    rng.shuffle(keys)
    knowledge = Knowledge.draw(rng)
    return [turn(rng.choice(bank.indices_of(shape)), kind, bank, knowledge, rng) for shape, kind in (*keys, key)]


def two_word_episode(bank: Bank, alike: Sequence[str], rng: random.Random) -> list[Turn]:
    """A demonstration for each of ``alike``, in random order, then a query of the same two-word kind.

    ``alike`` says what a demonstration shares with the query: "shape", "color", "both" or "none".
    """
    kind, knowledge = rng.choice(TWO_WORD), Knowledge.draw(rng)
    query = rng.choice(range(len(bank)))
    scene = bank.scenes[query]
    looks = []
    for shared in alike:
        shape = rng.choice([other for other in range(len(SHAPES)) if other != scene.shape])
        color = rng.choice([other for other in range(len(COLORS)) if other != scene.color])
        if shared in ("shape", "both"):
            shape = scene.shape
        if shared in ("color", "both"):
            color = scene.color
        looks.append((shape, color))
    rng.shuffle(looks)
    images = [rng.choice(bank.indices_of(*look)) for look in looks]
    return [turn(image, kind, bank, knowledge, rng) for image in (*images, query)]
