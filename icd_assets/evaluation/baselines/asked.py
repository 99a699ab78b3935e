"""What a baseline sees: the queries, their pools, the library, and the embeddings that selectors see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.pools.similarity import Features

Vectors = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Asked:
    """``query`` [Q, D] and ``offered`` [M, D] are unit vectors of image and question together (SPEC E.3)."""

    queries: Sequence[VqaItem]
    pools: Mapping[int, Sequence[int]]  # query row → library rows, in the queries' order
    places: Mapping[int, Sequence[int]]  # query row → the rows of ``offered`` that are its pool
    library: Sequence[VqaItem]
    query: Features
    offered: Features
    embed: Callable[[Sequence[int]], Features]  # of any rows of the library
    shots: int
    seed: int

    def vectors(self, index: int) -> tuple[Vectors, Vectors]:
        """Of the query at ``index``: its vector [D] and those of its pool [K, D], in float64."""
        own = list(self.places[self.queries[index].row])
        return self.query[index].astype(np.float64), self.offered[own].astype(np.float64)


def cosines(vector: Vectors, pool: Vectors) -> Vectors:
    """Inner products [K] of ``vector`` [D] and the rows of ``pool`` [K, D]. Each is summed in the same order, so
    that equal rows tie, which a matrix product does not promise."""
    products: Vectors = (pool * vector).sum(axis=1)
    return products


def best_last(scores: Vectors, shots: int) -> tuple[int, ...]:
    """The positions of the highest ``scores`` [K], the best one last; ties go to the earlier position."""
    return tuple(int(place) for place in np.argsort(-scores, kind="stable")[:shots][::-1])
