"""A small world for baselines: vectors that a test decides, and the items they belong to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icd_assets.datasets.vqa import VqaItem
from icd_assets.evaluation.baselines.asked import Asked
from icd_assets.pools.rows import candidate_rows
from icd_assets.pools.similarity import Features


def unit(vectors) -> Features:
    found = np.asarray(vectors, dtype=np.float64)
    return (found / np.linalg.norm(found, axis=-1, keepdims=True)).astype(np.float32)


def asked(
    queries: Sequence[VqaItem],
    pools: dict[int, Sequence[int]],
    library: Sequence[VqaItem],
    shots: int = 2,
    *,
    query: Features | None = None,
    vectors: Features | None = None,
    seed: int = 42,
) -> Asked:
    """``vectors`` [n, D]: of the library, by default all alike; ``query`` [Q, D]."""
    vectors = unit(np.ones((len(library), 3))) if vectors is None else vectors
    query = unit(np.ones((len(queries), vectors.shape[1]))) if query is None else query
    offered = candidate_rows(pools)
    places = {row: [offered.index(one) for one in pool] for row, pool in pools.items()}
    return Asked(
        queries,
        pools,
        places,
        library,
        query,
        vectors[offered],
        lambda rows: vectors[list(rows)],
        shots,
        seed,
    )
