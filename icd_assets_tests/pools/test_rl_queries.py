from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icd_assets.errors import UserError
from icd_assets.pools.files import write_pools
from icd_assets.pools.rl_queries import RlQueries, Role, draw_rl_queries, paid_for, rows_for
from icd_assets.pools.rl_query_file import read_rl_queries, write_rl_queries

ANCHORS = range(0, 600, 2)  # 300 of 640


def draw(n_rows: int = 640, anchors=ANCHORS, **settings) -> RlQueries:  # type: ignore[no-untyped-def]
    return draw_rl_queries(n_rows, anchors, **{"rows": 200, "validation_rows": 40, "seed": 42, **settings})


@pytest.mark.parametrize("rows", [1, 200, 300, 500, 600, None])
@pytest.mark.parametrize("with_anchors", [True, False])
def test_rows_that_no_selector_saw_come_first_and_validate_alone(rows: int | None, with_anchors: bool) -> None:
    drawn = draw(rows=rows, with_anchors=with_anchors)
    every = [*drawn.train, *drawn.validation]
    assert len(set(every)) == len(every)
    assert set(every) <= set(range(640))
    assert len(drawn.validation) == 40
    assert not set(drawn.validation) & set(ANCHORS)
    unseen = [row for row in drawn.train if row not in ANCHORS]
    left = 600 if with_anchors else 300
    assert len(drawn.train) == min(left, rows or left)
    assert len(unseen) == min(300, rows or 300)
    assert list(drawn.train[: len(unseen)]) == unseen


def test_the_demos_640_rows_are_all_taken() -> None:
    drawn = draw(rows=640)
    assert sorted([*drawn.train, *drawn.validation]) == list(range(640))


def test_a_draw_depends_on_the_seed_alone_and_grows_at_its_end() -> None:
    assert draw(anchors=sorted(ANCHORS, reverse=True)) == draw(anchors=set(ANCHORS)) == draw()
    assert draw(seed=1) != draw()
    assert draw(rows=450).train[:200] == draw().train
    assert draw(rows=450).validation == draw().validation


def test_where_few_rows_are_left_fewer_are_taken() -> None:
    every = draw(n_rows=10, anchors=range(4), rows=100)
    assert (len(every.train), len(every.validation)) == (4, 6)
    unseen = draw(n_rows=10, anchors=range(4), with_anchors=False)
    assert (len(unseen.train), len(unseen.validation)) == (3, 3)


@pytest.mark.parametrize(("left", "with_anchors"), [(0, True), (0, False), (1, False)])
def test_nothing_left_to_validate_is_one_sentence(left: int, with_anchors: bool) -> None:
    with pytest.raises(UserError, match=rf"of the 50 rows of the train split {left} .*sample_num"):
        draw(n_rows=50, anchors=range(50 - left), with_anchors=with_anchors)


@pytest.mark.parametrize("settings", [{"rows": 0}, {"validation_rows": 0}])
def test_no_query_at_all_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match="at least 1"):
        draw(**settings)


def test_a_budget_of_answers() -> None:
    pools = {row: (row + 1,) for row in (7, 3, 9, 1, 5, 2)}
    roles: dict[int, Role] = dict.fromkeys((7, 3, 9, 1), "train") | dict.fromkeys((5, 2), "validation")
    assert list(paid_for(pools, roles, 3)) == [7, 3, 5]
    assert list(paid_for(pools, roles, 2)) == [7, 5]
    assert list(paid_for(pools, None, 2)) == [7, 3]
    assert paid_for(pools, roles, 6) == paid_for(pools, roles, 99) == pools
    with pytest.raises(UserError, match="none is left to validate with"):
        paid_for(pools, roles, 1)
    assert (rows_for(8000, 12), rows_for(12, 12)) == (666, 1)
    with pytest.raises(UserError, match="11 answers do not pay for one query of 12"):
        rows_for(11, 12)


DRAWN = RlQueries(train=(7, 2), validation=(5,))
POOLS = {5: (1, 2, 3), 2: (9, 8, 0), 7: (0, 2, 5)}


def write(path: Path) -> dict[str, Any]:
    write_rl_queries(path, DRAWN, POOLS)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_what_is_written_is_read_in_the_order_drawn(tmp_path: Path) -> None:
    write(tmp_path / "q.json")
    found = read_rl_queries(tmp_path / "q.json", n_rows=10, size=3)
    assert list(found.train.items()) == [(7, (0, 2, 5)), (2, (9, 8, 0))]
    assert (found.validation, found.pools) == ({5: (1, 2, 3)}, POOLS)
    assert found.roles == {7: "train", 2: "train", 5: "validation"}
    write_rl_queries(tmp_path / "again.json", DRAWN, found.pools)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "q.json").read_bytes()


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no validation": lambda c: c.pop("validation"),
    "no query to validate": lambda c: c.update(validation={}),
    "another role": lambda c: c.update(test={"1": [2, 3, 4]}),
    "a role is a list": lambda c: c.update(train=[7, 2]),
    "both roles": lambda c: c["validation"].update({"7": [0, 2, 5]}),
    "a row outside": lambda c: c["train"].update({"10": [0, 2, 5]}),
    "not a row": lambda c: c["train"].update({"-1": [0, 2, 5]}),
    "one row twice": lambda c: c["train"].update({"07": [0, 2, 5]}),
    "a small pool": lambda c: c["train"].update({"2": [9, 8]}),
    "the query in its pool": lambda c: c["validation"].update({"5": [5, 2, 3]}),
    "a truth value": lambda c: c["validation"].update({"5": [True, 2, 3]}),
    "a row of a pool twice": lambda c: c["validation"].update({"5": [2, 2, 3]}),
}


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_named(tmp_path: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    path = tmp_path / "q.json"
    content = write(path)
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"q\.json[^\n]*; delete the file to have it made again\.$"):
        read_rl_queries(path, n_rows=10, size=3)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "\x00", "[" * 100_000, '{"train": {}, "train": {}}'])
def test_a_foreign_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "q.json").write_text(text)
    with pytest.raises(UserError, match=r"q\.json"):
        read_rl_queries(tmp_path / "q.json", n_rows=10, size=3)


def test_candidate_pools_are_no_rl_queries(tmp_path: Path) -> None:
    write_pools(tmp_path / "pools.json", POOLS)
    with pytest.raises(UserError, match=r"pools\.json must be an object of the form .*validation"):
        read_rl_queries(tmp_path / "pools.json", n_rows=10, size=3)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    write(path)
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"q\.json"):
            read_rl_queries(path, n_rows=10, size=3)
