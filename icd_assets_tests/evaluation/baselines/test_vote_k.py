"""Vote-k: the election counted one vote at a time, and what a query is then shown."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from icd_assets.evaluation.baselines.vote_k import election, vote_k
from icd_assets_tests.evaluation.baselines.asking import asked, unit
from icd_assets_tests.worlds.vqa_files import item


def counted(vectors, count, neighbors, rho):
    """The paper's section 2.1, voter by voter."""
    wide = vectors.astype(np.float64)
    scores = wide @ wide.T
    votes_for = {}
    for v in range(len(wide)):
        others = sorted((u for u in range(len(wide)) if u != v), key=lambda u: (-scores[v, u], u))
        votes_for[v] = set(others[:neighbors])
    elected = []
    for _ in range(count):
        tally = {}
        for u in range(len(wide)):
            if u not in elected:
                voters = [v for v in range(len(wide)) if u in votes_for[v] and v not in elected]
                tally[u] = sum(rho ** -len(votes_for[v] & set(elected)) for v in voters)
        best = max(tally.values())
        elected.append(min(u for u, votes in tally.items() if votes > best - 1e-9))
    return elected


@pytest.mark.parametrize(("neighbors", "rho"), [(3, 10.0), (8, 2.0), (100, 10.0)])
def test_equals_the_count(neighbors, rho):
    vectors = unit(np.random.default_rng(8).normal(size=(30, 3)))
    assert election(vectors, 7, neighbors, rho) == counted(vectors, 7, neighbors, rho)


def test_both_crowds_are_represented():
    """Eight rows here, five there: the first elected is of the larger crowd, the second of the other."""
    rng = np.random.default_rng(9)
    vectors = unit(np.vstack([[1, 0] + 0.05 * rng.normal(size=(8, 2)), [0, 1] + 0.05 * rng.normal(size=(5, 2))]))
    first, second = election(vectors, 2, neighbors=3)
    assert first < 8 <= second


def test_more_cannot_be_elected_than_there_are():
    assert sorted(election(unit(np.ones((4, 2))), 9)) == [0, 1, 2, 3]
    assert election(unit(np.ones((1, 2))), 3) == [0]


def test_all_queries_choose_among_the_same_rows():
    rng = np.random.default_rng(10)
    library = [item(row) for row in range(60)]
    queries = [item(row) for row in range(100, 150)]
    vectors, query = unit(rng.normal(size=(60, 4))), unit(rng.normal(size=(50, 4)))
    pools = {one.row: list(range(8)) for one in queries}
    asking = asked(queries, pools, library, query=query, vectors=vectors)
    found = vote_k(asking)
    shown = {row: [found.pools[row][place] for place in found.pointers[row]] for row in pools}
    elected = election(vectors, 8)
    for index, one in enumerate(queries):
        ranked = sorted(elected, key=lambda row: -float(vectors[row].astype(float) @ query[index]))
        assert shown[one.row] == ranked[:2][::-1]  # the most similar last
    assert found.strategy == "vote-k" and found == vote_k(asking)


def test_a_row_on_the_querys_image_is_never_shown():
    """Three rows are elected of a library of six; where two are banned, the pool makes up the number."""
    library = [replace(item(row), image_id=7 if row < 5 else 8) for row in range(6)]
    query = replace(item(9), image_id=7)
    found = vote_k(asked([query], {9: [5, 0, 1]}, library, shots=1))
    assert [library[row].image_id for row in found.pools[9]] == [8]
    few = vote_k(asked([query], {9: [5, 0, 1]}, library, shots=2))
    assert len(set(few.pools[9])) == 2


def test_of_a_large_library_a_drawn_part_stands(monkeypatch):
    monkeypatch.setattr(import_module("icd_assets.evaluation.baselines.vote_k"), "CANDIDATES", 20)
    library = [item(row) for row in range(500)]
    vectors = unit(np.random.default_rng(11).normal(size=(500, 4)))
    asked_of = []

    def pools(seed: int):
        asking = asked([item(900)], {900: [0, 1, 2]}, library, vectors=vectors, seed=seed)
        embed = asking.embed
        found = vote_k(replace(asking, embed=lambda rows: asked_of.append(len(rows)) or embed(rows)))
        return found.pools

    assert pools(1) == pools(1) != pools(2)
    assert asked_of == [20, 20, 20]
