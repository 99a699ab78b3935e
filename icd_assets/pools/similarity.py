"""The most similar library rows of each query, exactly and in bounded memory.

Shapes: `Q` queries, `N` library rows, `D` embedding. Features are float32 and L2-normalized, so the inner
product is the cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]

_BLOCK = 1 << 24  # similarities held at once: 64 MB
_MARGIN = 1e-4  # twice the worst rounding error of a float32 inner product of unit vectors, D ≤ 768
_EXACT_ROWS = 4096


@dataclass(frozen=True, slots=True)
class SamplerFeatures:
    """CLIP projections of questions (``text`` [N, D]) and images (``image`` [N, D])."""

    text: Features
    image: Features

    def __post_init__(self) -> None:
        if len(self.text) != len(self.image):
            raise ValueError(f"{len(self.text)} text features but {len(self.image)} image features")
        for features in (self.text, self.image):
            if features.ndim != 2 or features.dtype != np.float32:
                raise ValueError(f"features must be float32 [N, D], not {features.dtype} {features.shape}")
            norms = np.sqrt(np.einsum("nd,nd->n", features, features))
            if not np.allclose(norms, 1, atol=1e-3):  # also False for NaN
                raise ValueError("features must be finite and L2-normalized")

    def of(self, rows: Sequence[int]) -> SamplerFeatures:
        """The features of some rows, in their order."""
        return SamplerFeatures(text=self.text[list(rows)], image=self.image[list(rows)])


def top_similar(
    queries: Features, library: Features, excluded: Sequence[Sequence[int]], count: int
) -> list[list[int]]:
    """For each query the ``count`` most similar library rows, best first, ties in row order.

    ``queries`` [Q, D]; ``library`` [N, D]; ``excluded`` [Q] lists of rows that may not be chosen. A float32
    matrix product only short-lists; float64 inner products of single rows decide. So the result depends
    neither on the other queries nor on how a BLAS library tiles.
    """
    block = max(1, _BLOCK // max(1, len(library)))
    chosen = []
    for start in range(0, len(queries), block):
        similarity = queries[start : start + block] @ library.T  # [block, N]
        for offset, row in enumerate(similarity):
            query = start + offset
            row[list(excluded[query])] = -np.inf
            chosen.append(_top(queries[query], library, row, count))
    return chosen


def _top(query: Features, library: Features, similarity: Features, count: int) -> list[int]:
    """``query`` [D]; ``similarity`` [N], −inf where excluded; at least ``count`` rows are not."""
    threshold = np.partition(similarity, len(similarity) - count)[len(similarity) - count]
    short_list = np.flatnonzero(similarity >= threshold - _MARGIN)  # ascending rows
    best = np.argsort(-exact_similarity(query, library, short_list), kind="stable")[:count]
    return [int(row) for row in short_list[best]]


def exact_similarity(query: Features, library: Features, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Inner products [len(rows)] of ``query`` [D] with single library rows, each summed in the same order."""
    wide = query.astype(np.float64)
    parts = [
        (library[rows[start : start + _EXACT_ROWS]].astype(np.float64) * wide).sum(axis=1)
        for start in range(0, len(rows), _EXACT_ROWS)
    ]
    return np.concatenate(parts) if parts else np.empty(0)
