"""Maximal marginal relevance against its formula, looked up pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from icd_assets.evaluation.baselines.mmr import mmr, picks
from icd_assets_tests.evaluation.baselines.asking import asked, unit
from icd_assets_tests.worlds.vqa_files import item


def by_formula(query, pool, shots, relevance):
    chosen = []
    for _ in range(shots):
        gains = {}
        for i in range(len(pool)):
            if i not in chosen:
                alike = max((float(pool[j] @ pool[i]) for j in chosen), default=0.0)
                gains[i] = relevance * float(query @ pool[i]) - (1 - relevance) * alike
        chosen.append(max(gains, key=gains.get))
    return chosen


@pytest.mark.parametrize("relevance", [0.0, 0.3, 0.5, 1.0])
def test_equals_the_formula(relevance):
    rng = np.random.default_rng(5)
    for _ in range(20):
        query, pool = unit(rng.normal(size=4)).astype(float), unit(rng.normal(size=(12, 4))).astype(float)
        assert picks(query, pool, 6, relevance) == by_formula(query, pool, 6, relevance)


def test_a_copy_yields_to_what_is_new():
    """By hand: two copies near the query, and one farther off that shares nothing with them."""
    library = [item(row) for row in range(3)]
    vectors = unit([[1, 0.2], [1, 0.2], [0, 1]])
    found = mmr(asked([item(9)], {9: [0, 1, 2]}, library, query=unit([[1, 0.4]]), vectors=vectors))
    assert (found.strategy, found.pointers) == ("MMR", {9: (2, 0)})  # the nearest last


def test_equal_candidates_are_taken_in_the_pools_order():
    library = [item(row) for row in range(6)]
    found = mmr(asked([item(9), item(8)], {9: [4, 2, 5, 0], 8: [1, 3, 2]}, library, shots=3))
    assert found.pointers == {9: (2, 1, 0), 8: (2, 1, 0)}
