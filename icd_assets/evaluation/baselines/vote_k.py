"""Vote-k: a few rows of the library, chosen once for all queries to stand for the others; then the most similar.

Su et al., *Selective Annotation Makes Language Models Better Few-Shot Learners* (arXiv 2209.01975), section 2.1,
as "fast vote-k": every row is chosen by votes, none by a model's confidence. As there, at most 3,000 rows drawn at
random stand for election, each votes for the 150 nearest to it, its vote is worth ρ⁻ⁿ once n of those have won
(ρ = 10), and queries take the most similar of the rows elected.

1. As many rows are elected as a pool has, so that the strategy has no more to choose from than the others.
2. Vectors are those of image and question together that selectors see; the paper's are of sentences.
3. A row on the query's own image is never shown; where too few are left, the query's own pool makes up the number.
"""

from __future__ import annotations

import numpy as np

from icd_assets.evaluation.baselines.asked import Asked, best_last
from icd_assets.evaluation.selections import Selection
from icd_assets.pools.samplers import on_same_image
from icd_assets.pools.similarity import Features, exact_similarity, top_similar
from icd_assets.runtime.seeding import python_rng

CANDIDATES, NEIGHBORS, RHO = 3000, 150, 10.0


def vote_k(asked: Asked) -> Selection:
    size = len(asked.library)
    rng = python_rng(asked.seed, "evaluation", "vote-k")
    rows = sorted(rng.sample(range(size), min(size, CANDIDATES)))
    vectors = asked.embed(rows)
    elected = election(vectors, max(map(len, asked.pools.values())))
    banned = on_same_image(asked.queries, asked.library)
    pools, pointers = {}, {}
    for index, query in enumerate(asked.queries):
        left = [place for place in elected if rows[place] not in set(banned[index])]
        chosen = best_last(exact_similarity(asked.query[index], vectors, np.array(left, np.intp)), asked.shots)
        found = [rows[left[place]] for place in chosen]
        others = [row for row in asked.pools[query.row] if row not in found]
        pools[query.row] = tuple(others[: asked.shots - len(found)] + found)
        pointers[query.row] = tuple(range(asked.shots))
    return Selection("vote-k", asked.shots, pointers, pools=pools)


def election(vectors: Features, count: int, neighbors: int = NEIGHBORS, rho: float = RHO) -> list[int]:
    """The places of ``count`` rows, first elected first, ties by place; ``vectors``: [n, D], unit."""
    size = len(vectors)
    itself = [[place] for place in range(size)]
    found = top_similar(vectors, vectors, itself, min(neighbors, size - 1)) if size > 1 else itself
    nearest = np.array(found, np.intp)  # [n, k]: whom each votes for
    worth = np.ones(size)
    elected: list[int] = []
    for _ in range(min(count, size)):
        worth[elected] = 0.0  # the elected vote no more
        votes = np.bincount(nearest.ravel(), np.repeat(worth, nearest.shape[1]), minlength=size)
        votes[elected] = -1.0
        winner = int(votes.argmax())
        elected.append(winner)
        worth[(nearest == winner).any(axis=1)] /= rho
    return elected
