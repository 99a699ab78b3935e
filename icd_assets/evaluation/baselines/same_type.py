"""Random candidates of the query's own question type, as the data set's annotations have it."""

from __future__ import annotations

from icd_assets.evaluation.baselines.asked import Asked
from icd_assets.evaluation.selections import Selection
from icd_assets.runtime.seeding import python_rng


def same_type(asked: Asked) -> Selection | None:
    """Where a pool has too few of that type, others make up the number, and stand first. More shots extend fewer,
    at the front. None where no query has a type.
    """
    if not any(query.question_type for query in asked.queries):
        return None
    pointers = {}
    for query in asked.queries:
        pool = asked.pools[query.row]
        order = list(range(len(pool)))
        python_rng(asked.seed, "evaluation", "same type", query.row).shuffle(order)
        order.sort(key=lambda place: asked.library[pool[place]].question_type != query.question_type)
        pointers[query.row] = tuple(order[: asked.shots][::-1])
    return Selection("random, same type", asked.shots, pointers)
