"""Upstream's cache files: both names, and every id checked."""

from __future__ import annotations

import json

import pytest

from icd_assets.errors import UserError
from icd_assets.pools.files import (
    read_anchors,
    read_pools,
    write_anchors,
    write_pools,
)


def test_round_trip_keeps_order(tmp_path):
    pools = {9: (3, 1, 2), 0: (5, 4, 8)}
    path = tmp_path / "pools.json"
    write_pools(path, pools)
    assert list(read_pools(path, n_rows=10, size=3).items()) == list(pools.items())
    assert json.loads(path.read_text()) == {"9": [3, 1, 2], "0": [5, 4, 8]}  # upstream's form
    write_anchors(tmp_path / "anchors.json", [9, 0])
    assert read_anchors(tmp_path / "anchors.json", n_rows=10, count=2) == [9, 0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"4": [1, 2]}', "pool of query 4 holds 2 rows, not 3"),
        ('{"4": [1, 2, 2]}', "pool of query 4: row 2 occurs twice"),
        ('{"4": [1, 2, 4]}', "pool of query 4 holds the query itself"),
        ('{"4": [1, 2, 10]}', "10 is not a row of a split of 10"),
        ('{"4": [1, 2, -1]}', "-1 is not a row"),
        ('{"4": [1, 2, true]}', "True is not a row"),
        ('{"4": [1, 2, 3.0]}', "3.0 is not a row"),
        ('{"4": {"a": 1}}', "pool of query 4 is not a list"),
        ('{"10": [1, 2, 3]}', "'10' is not a query row"),
        ('{"x": [1, 2, 3]}', "'x' is not a query row"),
        ('{"' + "9" * 5000 + '": [1, 2, 3]}', "is not a query row"),
        ('{"4": [1, 2, 3], "4": [5, 6, 7]}', "the key '4' occurs twice"),
        ('{"4": [1, 2, 3], "04": [5, 6, 7]}', "two keys name the same query row"),
        ("[]", "must be an object"),
        ("{}", "must be an object"),
        ('{"4": [1, 2', "not complete JSON"),
    ],
)
def test_broken_pools(tmp_path, content, says):
    path = tmp_path / "pools.json"
    path.write_text(content)
    with pytest.raises(UserError, match=says):
        read_pools(path, n_rows=10, size=3)


@pytest.mark.parametrize(
    ("content", "says"), [("[1, 1]", "row 1 occurs twice"), ("[1]", "holds 1 rows, not 2"), ("3", "not a list")]
)
def test_broken_anchors(tmp_path, content, says):
    path = tmp_path / "anchors.json"
    path.write_text(content)
    with pytest.raises(UserError, match=says):
        read_anchors(path, n_rows=10, count=2)
