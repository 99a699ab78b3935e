"""What two-word questions ask of a selector: the exhaustive search over pairs of demonstrations.

On validation questions of ``demo_pairs``, with pools from its train split, as the product would ask them.
Legend: `P` prompts.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from icd_assets.demo import tiny_vl
from icd_assets.demo.bank import Bank
from icd_assets.demo.dataset import PAIRS_TRAIN, PAIRS_VALIDATION, SEED, Row, rows
from icd_assets.demo.episodes import Turn, TurnLayout
from icd_assets.demo.world import render
from icd_assets.runtime.seeding import python_rng

POOL = 64
Scored = list[tuple[float, bool]]  # for each prompt: likelihood of the true answer, and is it the one given


def pair_search(model: Any, tokenizer: Any, queries: int, seed: int) -> dict[str, float]:
    """Shares of ``queries`` answered right, by how their demonstrations were chosen.

    All by the likelihood of the true answer, as InfoScore chooses: the best pair among all ordered pairs of the
    query's kind; the two best singles, in their better order; the best single, then the best second after it.
    ``best second of another first`` keeps the best first but takes the second that is best after the second best
    first: where it is lower than ``best first, then best second``, the first pick decides what is best next.
    """
    asker = _Asker(model, tokenizer)
    library = asker.turns(rows(PAIRS_TRAIN))
    asked = asker.turns(rows(PAIRS_VALIDATION)[:queries])
    asker.draw_pictures()
    rng = python_rng(seed, "measure", "pairs")
    right: Counter[str] = Counter()
    for query in asked:
        pool = rng.sample(library, POOL)
        random_pair = (*rng.sample(pool, 2), query)
        singles = asker.ask([(shot, query) for shot in pool])
        order = sorted(range(POOL), key=lambda shot: -singles[shot][0])
        first, other = order[:2]
        kind = [shot for shot in range(POOL) if pool[shot].kind == query.kind]
        pairs = list(itertools.permutations(sorted({*kind, first, other}), 2))
        found = dict(zip(pairs, asker.ask([(pool[a], pool[b], query) for a, b in pairs]), strict=True))
        rest = [shot for shot in kind if shot not in (first, other)]
        second, foreign = (max(rest, key=lambda shot: found[start, shot][0]) for start in (first, other))
        best_second = max((pair for pair in pairs if pair[0] == first), key=lambda pair: found[pair][0])
        right["a random pair"] += asker.ask([random_pair])[0][1]
        right["the best single"] += singles[first][1]
        right["the two best singles"] += max(found[first, other], found[other, first])[1]
        right["best first, then best second"] += found[best_second][1]
        right["best first, then best second of another first"] += found[first, foreign][1]
        right["the best pair"] += max(found.values())[1]
        right["pool holds one of the same shape and color"] += any(
            (pool[shot].shape, pool[shot].color) == (query.shape, query.color) for shot in kind
        )
        right["the best second is another after another first"] += second != foreign
    return {name: count / queries for name, count in right.items()}


class _Asker:
    """Prompts of turns on the data set's own pictures, asked in batches of one length."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._layout = model, TurnLayout(tokenizer)
        self._pictures: dict[int, Row] = {}  # by image id, in the order of the bank
        self._bank: Bank | None = None

    def turns(self, drawn: Sequence[Row]) -> list[Turn]:
        made = []
        for row in drawn:
            self._pictures.setdefault(row.image_id, row)
            image, scene = list(self._pictures).index(row.image_id), row.scene
            answer = Counter(row.answers).most_common(1)[0][0]
            made.append(Turn(image, row.wording.text, answer, row.wording.kind, scene.shape, scene.color))
        return made

    def draw_pictures(self) -> None:
        images = [
            render(row.scene, python_rng(SEED, "demo", "picture", row.image_id)) for row in self._pictures.values()
        ]
        self._bank = Bank.of([row.scene for row in self._pictures.values()], tiny_vl.to_patches(images))

    def ask(self, prompts: Sequence[Sequence[Turn]]) -> Scored:
        """Both for each of `P` prompts, whose last turn is the query; greedy decoding answers a word at a time,
        so that an answer is given where each true word is the likeliest after those before it."""
        assert self._bank is not None
        scored: Scored = []
        for start in range(0, len(prompts), 128):
            batch = self._layout.batch(prompts[start : start + 128])
            with torch.no_grad():
                logits = tiny_vl.read(self._model, batch, self._bank).words(self._model, batch)
            last = batch.turns == batch.images.shape[1] - 1
            words, targets = logits[last].log_softmax(-1), batch.targets()[last, None]
            likelihood = words.gather(1, targets).view(-1, 2).mean(1).exp()
            given = (words.argmax(-1) == targets[:, 0]).view(-1, 2).all(1)
            scored += zip(likelihood.tolist(), given.tolist(), strict=True)
        return scored
