"""The fast greedy search against determinants of the kernel, one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from icd_assets.evaluation.baselines.dpp import dpp, picks
from icd_assets_tests.evaluation.baselines.asking import asked, unit
from icd_assets_tests.worlds.vqa_files import item


def kernel(query, pool, scale):
    quality = np.exp((1 + pool @ query) / 2 / (2 * scale))
    return quality[:, None] * (1 + pool @ pool.T) / 2 * quality[None]


def by_determinants(query, pool, shots, scale):
    found, chosen = kernel(query, pool, scale), []
    for _ in range(shots):
        left = [i for i in range(len(pool)) if i not in chosen]
        chosen.append(max(left, key=lambda i: np.linalg.det(found[np.ix_([*chosen, i], [*chosen, i])])))
    return chosen


@pytest.mark.parametrize("scale", [0.05, 0.1, 1.0])
def test_equals_determinants(scale):
    rng = np.random.default_rng(6)
    for _ in range(20):
        query, pool = unit(rng.normal(size=8)).astype(float), unit(rng.normal(size=(10, 8))).astype(float)
        assert picks(query, pool, 4, scale) == by_determinants(query, pool, 4, scale)


def test_the_best_pair_is_often_the_most_probable_of_all():
    """The search is greedy, so not always; by enumeration it misses few."""
    rng, same = np.random.default_rng(7), 0
    for _ in range(50):
        query, pool = unit(rng.normal(size=8)).astype(float), unit(rng.normal(size=(8, 8))).astype(float)
        found = kernel(query, pool, 0.1)
        best = max(itertools.combinations(range(8), 2), key=lambda pair: np.linalg.det(found[np.ix_(pair, pair)]))
        same += set(best) == set(picks(query, pool, 2))
    assert same >= 40


def test_a_copy_yields_to_what_is_new():
    library = [item(row) for row in range(3)]
    vectors = unit([[1, 0.2], [1, 0.2], [0.3, 1]])
    found = dpp(asked([item(9)], {9: [0, 1, 2]}, library, query=unit([[1, 0.4]]), vectors=vectors))
    assert (found.strategy, found.pointers) == ("DPP", {9: (2, 0)})  # the nearest last


def test_equal_candidates_are_taken_in_the_pools_order():
    library = [item(row) for row in range(6)]
    found = dpp(asked([item(9)], {9: [4, 2, 5, 0]}, library, shots=4))
    assert found.pointers == {9: (3, 2, 1, 0)}


def test_where_only_copies_are_left_the_nearer_comes_first():
    vectors = unit([[1, 1], [1, 0], [1, 1], [1, 0]])
    found = dpp(
        asked(
            [item(9)],
            {9: [0, 1, 2, 3]},
            [item(row) for row in range(4)],
            4,
            query=unit([[1, 0.1]]),
            vectors=vectors,
        )
    )
    assert found.pointers[9][::-1][:2] == (1, 0)
    assert found.pointers[9][::-1][2:] == (3, 2)
