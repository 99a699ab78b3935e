"""The most probable set of a determinantal point process: near the query, and spanning a large volume together.

The kernel is that of CEIL (arXiv 2302.05698, section 3): L = diag(q) S diag(q) with q = exp(r / 2λ), where r are
the candidates' similarities to the query and S those among them, both cosines mapped to [0, 1], and λ = 0.1. The
set is found by the fast greedy search of Chen, Zhang and Zhou (NeurIPS 2018, algorithm 1).

1. The search runs in logarithms, r/λ + log of what S adds, so that no exponential overflows.
2. Where only copies of the picks are left, the determinant is 0 whatever comes next; they are taken by r.
3. The first pick, the most similar candidate, stands last, next to the query.
"""

from __future__ import annotations

import numpy as np

from icd_assets.evaluation.baselines.asked import Asked, Vectors, cosines
from icd_assets.evaluation.selections import Selection

SCALE = 0.1  # λ
_NOTHING = 1e-6  # a copy of the picks adds no more, as float32 vectors are of unit length to 1e-7


def dpp(asked: Asked) -> Selection:
    pointers = {}
    for index, query in enumerate(asked.queries):
        pointers[query.row] = tuple(picks(*asked.vectors(index), asked.shots)[::-1])
    return Selection("DPP", asked.shots, pointers)


def picks(query: Vectors, pool: Vectors, shots: int, scale: float = SCALE) -> list[int]:
    """Positions in the order picked, each time the one that raises log det of L most.

    query: [D], pool: [K, D], unit vectors; ties go to the earlier position.
    """
    quality = (1 + cosines(query, pool)) / 2 / scale  # 2 log q
    left = np.ones(len(pool))  # d², what each would add: S has ones on its diagonal
    rows = np.zeros((shots, len(pool)))  # of the Cholesky factor of S, one per pick
    chosen: list[int] = []
    for shot in range(shots):
        gain = quality + np.log(np.maximum(left, _NOTHING))
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        if left[best] > _NOTHING:
            alike = (1 + cosines(pool[best], pool)) / 2
            rows[shot] = (alike - rows[:shot, best] @ rows[:shot]) / np.sqrt(left[best])
            left = left - rows[shot] ** 2
        chosen.append(best)
    return chosen
