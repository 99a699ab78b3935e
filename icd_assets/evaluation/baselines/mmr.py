"""Maximal marginal relevance: near the query, and unlike what was chosen before.

Carbonell and Goldstein, *The Use of MMR* (SIGIR 1998); for demonstrations Ye et al. (arXiv 2211.13892), with the
same λ = ½. The first pick is the most similar candidate; it stands last, next to the query.
"""

from __future__ import annotations

import numpy as np

from icd_assets.evaluation.baselines.asked import Asked, Vectors, cosines
from icd_assets.evaluation.selections import Selection

RELEVANCE = 0.5  # λ; 1 is plain similarity


def mmr(asked: Asked) -> Selection:
    pointers = {}
    for index, query in enumerate(asked.queries):
        pointers[query.row] = tuple(picks(*asked.vectors(index), asked.shots)[::-1])
    return Selection("MMR", asked.shots, pointers)


def picks(query: Vectors, pool: Vectors, shots: int, relevance: float = RELEVANCE) -> list[int]:
    """Positions in the order picked: each time the largest λ·cos(query, i) − (1 − λ)·max cos(pick, i).

    query: [D], pool: [K, D], unit vectors; ties go to the earlier position.
    """
    near = cosines(query, pool)
    alike = np.zeros(len(pool))  # to the nearest pick; nothing is picked yet
    chosen: list[int] = []
    for _ in range(shots):
        gain = relevance * near - (1 - relevance) * alike
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        found = cosines(pool[best], pool)
        alike = np.maximum(alike, found) if chosen else found
        chosen.append(best)
    return chosen
