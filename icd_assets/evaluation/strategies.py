"""Ways to choose demonstrations without training: baselines, and controls for the trained ones.

A trained selector, or the best in the pool, is a :class:`Selection` made of the pointers that it gave.

Deviations from upstream:
1. Every strategy chooses from the query's own pool, so that they differ in the choice alone; upstream's
   baselines search the whole train split, its selector the first rows of it (SPEC M).
2. A random choice depends on seed and query, not on the queries before; more shots extend fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np

from icd_assets.evaluation.selections import Selection
from icd_assets.pools.similarity import SamplerFeatures, exact_similarity
from icd_assets.runtime.seeding import python_rng

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem

Pools = Mapping[int, Sequence[int]]  # query row → train rows
SimilarityOf = Literal["text", "image", "image+text"]


def zero_shot(rows: Sequence[int]) -> Selection:
    """No demonstration."""
    return Selection("zero-shot", 0, dict.fromkeys(rows, ()))


def random_selection(pools: Pools, shots: int, seed: int) -> Selection:
    """Distinct random positions, per query."""
    pointers = {}
    for row, pool in pools.items():
        order = list(range(len(pool)))
        python_rng(seed, "evaluation", "random", row).shuffle(order)
        pointers[row] = tuple(order[:shots])
    return Selection("random", shots, pointers)


def similarity_selection(
    kind: SimilarityOf,
    pools: Pools,
    shots: int,
    query_features: SamplerFeatures,
    library_features: SamplerFeatures,
) -> Selection:
    """The most similar candidates, the best one last: next to the query (SPEC M, ``mmtopk_reversed_order``).

    ``query_features`` follow ``pools``, whose rows are those of ``library_features``. ``image+text`` adds both
    cosines. Ties go to the earlier pool position.
    """
    pointers = {}
    for query, (row, pool) in enumerate(pools.items()):
        ids = np.asarray(pool, dtype=np.intp)
        text = partial(exact_similarity, query_features.text[query], library_features.text, ids)
        image = partial(exact_similarity, query_features.image[query], library_features.image, ids)
        match kind:
            case "text":
                similarity = text()
            case "image":
                similarity = image()
            case "image+text":
                similarity = text() + image()
            case _:
                assert_never(kind)
        best = np.argsort(-similarity, kind="stable")[:shots]
        pointers[row] = tuple(int(position) for position in best[::-1])
    return Selection(f"{kind} similarity", shots, pointers)


def shuffled_labels(selection: Selection, pools: Pools, library: Sequence[VqaItem], seed: int) -> Selection:
    """The same demonstrations, each with the answer of a random other candidate of the pool.

    If accuracy stays, the model copies or ignores the demonstrations rather than reading them.
    """
    labels = {}
    for row, pointer in selection.pointers.items():
        others = [place for place in range(len(pools[row])) if place not in pointer]
        if len(others) < len(pointer):
            raise ValueError(f"query {row}: a pool of {len(pools[row])} has too few other answers to shuffle")
        drawn = python_rng(seed, "evaluation", "labels", row).sample(others, len(pointer))
        labels[row] = tuple(library[pools[row][place]].answer for place in drawn)
    return Selection(f"{selection.strategy}, shuffled labels", selection.shots, selection.pointers, labels)
