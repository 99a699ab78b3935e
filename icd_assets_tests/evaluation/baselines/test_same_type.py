"""Random candidates of the query's question type, whatever else a pool holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from icd_assets.evaluation.baselines.same_type import same_type
from icd_assets_tests.evaluation.baselines.asking import asked
from icd_assets_tests.worlds.vqa_files import item


def typed(row: int, kind: str):
    return replace(item(row), question_type=kind)


LIBRARY = [typed(row, "what" if row % 2 else "how") for row in range(40)]
POOL = list(range(10, 30))


def test_every_pick_is_of_the_type():
    queries = [typed(row, "how") for row in range(100, 160)]
    found = same_type(asked(queries, {query.row: POOL for query in queries}, LIBRARY, shots=3))
    assert found.strategy == "random, same type"
    picked = Counter(POOL[place] for pointer in found.pointers.values() for place in pointer)
    assert {*picked} == {*range(10, 30, 2)}  # all of them, none of the others
    assert max(picked.values()) < 40  # of 180: no favourite


def test_seed_and_query_alone_decide():
    queries = [typed(row, "how") for row in range(100, 130)]
    pools = {query.row: POOL for query in queries}
    whole = same_type(asked(queries, pools, LIBRARY, shots=2)).pointers
    assert same_type(asked(queries[9:10], {109: POOL}, LIBRARY, shots=2)).pointers[109] == whole[109]
    assert same_type(asked(queries, pools, LIBRARY, shots=2, seed=1)).pointers != whole
    more = same_type(asked(queries, pools, LIBRARY, shots=4)).pointers
    assert all(more[row][-2:] == whole[row] for row in pools)


def test_too_few_of_the_type_are_made_up_by_others_and_stand_next_to_the_query():
    pool = [1, 3, 5, 2]
    found = same_type(asked([typed(9, "how")], {9: pool}, LIBRARY, shots=3)).pointers[9]
    assert pool[found[-1]] == 2 and len(set(found)) == 3


def test_without_types_it_is_left_out():
    assert same_type(asked([typed(9, "")], {9: POOL}, LIBRARY)) is None
    some = same_type(asked([typed(9, ""), typed(8, "how")], {9: POOL, 8: POOL}, LIBRARY))
    assert len(some.pointers[9]) == 2  # a query without one takes any
