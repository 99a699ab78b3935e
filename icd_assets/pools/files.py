"""Candidate pools ``{"<query row>": [rows]}`` and anchors ``[rows]`` in upstream's cache files (SPEC C)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief

_REMEDY = "delete the file to have it made again"


def write_pools(path: Path, pools: Mapping[int, Sequence[int]]) -> None:
    """One query per line, in the mapping's order (upstream: anchor order)."""
    path.write_text(pools_text(pools) + "\n", encoding="utf-8")


def pools_text(pools: Mapping[int, Sequence[int]]) -> str:
    """The JSON of :func:`write_pools`, without a last newline."""
    lines = (f"{json.dumps(str(row))}: {json.dumps([int(i) for i in pool])}" for row, pool in pools.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def read_pools(path: Path, *, n_rows: int, size: int) -> dict[int, tuple[int, ...]]:
    """Train row → its pool of train rows, in file order; every id checked. ``n_rows`` counts the train split."""
    return checked_pools(str(path), read_json(path, unique_keys=True), n_rows=n_rows, size=size)


def checked_pools(at: str, content: Any, *, n_rows: int, size: int) -> dict[int, tuple[int, ...]]:
    """The same of JSON that was read; complaints begin with ``at``."""
    if not isinstance(content, dict) or not content:
        raise UserError(f'{at} must be an object of the form {{"<query row>": [rows]}}; {_REMEDY}.')
    pools = {}
    for key, pool in content.items():
        if not re.fullmatch(r"[0-9]{1,12}", key) or int(key) >= n_rows:
            raise UserError(f"{at}: {brief(key)} is not a query row; {_REMEDY}.")
        _check_rows(f"{at}: pool of query {key}", pool, n_rows)
        if len(pool) != size:
            raise UserError(f"{at}: pool of query {key} holds {len(pool)} rows, not {size}; {_REMEDY}.")
        if int(key) in pool:
            raise UserError(f"{at}: pool of query {key} holds the query itself; {_REMEDY}.")
        pools[int(key)] = tuple(pool)
    if len(pools) < len(content):
        raise UserError(f"{at}: two keys name the same query row; {_REMEDY}.")
    return pools


def write_anchors(path: Path, anchors: Sequence[int]) -> None:
    path.write_text(json.dumps([int(row) for row in anchors]) + "\n", encoding="utf-8")


def read_anchors(path: Path, *, n_rows: int, count: int) -> list[int]:
    """The anchor rows in upstream's order, checked."""
    anchors = read_json(path)
    _check_rows(f"{path}: anchor list", anchors, n_rows)
    if len(anchors) != count:
        raise UserError(f"{path}: anchor list holds {len(anchors)} rows, not {count}; {_REMEDY}.")
    return list(anchors)


def _check_rows(at: str, rows: Any, n_rows: int) -> None:
    if not isinstance(rows, list):
        raise UserError(f"{at} is not a list of rows; {_REMEDY}.")
    for row in rows:
        if type(row) is not int or not 0 <= row < n_rows:
            raise UserError(f"{at}: {brief(row)} is not a row of a split of {n_rows}; {_REMEDY}.")
    if len(set(rows)) < len(rows):
        twice = next(row for row, count in Counter(rows).items() if count > 1)
        raise UserError(f"{at}: row {twice} occurs twice; {_REMEDY}.")
