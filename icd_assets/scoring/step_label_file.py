"""Step labels on disk: the pool of each query, and per prefix one value per position of the pool."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.scoring.step_labels import Label, Prefix, StepLabels


@dataclass(frozen=True, slots=True)
class StepLabelFile:
    """What a file holds, queries in its order."""

    label: Label
    pools: Mapping[int, tuple[int, ...]]  # query row → [K] rows of the train split
    steps: Mapping[int, list[StepLabels]]
    meta: Mapping[str, Any]  # ``label``, and the lineage


def write_step_labels(
    path: Path,
    labels: Mapping[int, Sequence[StepLabels]],
    pools: Mapping[int, Sequence[int]],
    *,
    label: Label,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """One query per line, ascending by row, ``_meta`` last; the same labels give the same bytes."""
    lines = [f'"{row}": {_dumps(_query(labels[row], pools[row]))}' for row in sorted(labels)]
    lines.append(f'"_meta": {_dumps({**(meta or {}), "label": label})}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _query(steps: Sequence[StepLabels], pool: Sequence[int]) -> dict[str, Any]:
    return {
        "candidate_pool_ids": [int(row) for row in pool],
        "steps": [{"prefix": step.prefix, "base": step.base, "values": step.values} for step in steps],
    }


def read_step_labels(path: Path, *, n_rows: int | None = None) -> StepLabelFile:
    """The labels of a file, every value checked; ``n_rows``, the size of the train split, bounds every row.

    Raises :class:`UserError` that names the file and the first query that is not as documented. Keys that begin
    with ``_`` are no queries; all pools are of one size.
    """
    content = read_json(path, unique_keys=True)
    meta = content.get("_meta") if isinstance(content, dict) else None
    if not isinstance(meta, dict) or meta.get("label") not in get_args(Label):
        raise UserError(
            f"{path} is no file of labels: it has no '_meta' that names a label ({' or '.join(get_args(Label))}); "
            "fix the path or make the labels again."
        )
    pools: dict[int, tuple[int, ...]] = {}
    steps: dict[int, list[StepLabels]] = {}
    for key, record in content.items():
        if key.startswith("_"):
            continue
        try:
            row = _row(key, n_rows)
            pools[row] = _pool(record, row, n_rows)
            if len(pools[row]) != (size := len(next(iter(pools.values())))):
                raise ValueError(f"its pool holds {len(pools[row])} rows, the first query's {size}")
            steps[row] = _steps(record, row, len(pools[row]))
        except ValueError as error:
            raise UserError(f"{path}: query {key[:20]}: {error}; make the labels again or fix the file.") from None
    if not steps:
        raise UserError(f"{path} holds no query's labels; make the labels again.")
    return StepLabelFile(meta["label"], pools, steps, meta)


def _row(key: str, n_rows: int | None) -> int:
    if not re.fullmatch("0|[1-9][0-9]{0,11}", key):
        raise ValueError("the key is not a row of the train split in plain decimal form")
    if n_rows is not None and int(key) >= n_rows:
        raise ValueError(f"the train split has {n_rows} rows")
    return int(key)


def _pool(record: Any, row: int, n_rows: int | None) -> tuple[int, ...]:
    if not isinstance(record, dict):
        raise ValueError(f"it is {_short(record)}, not an object")
    pool = _distinct(record.get("candidate_pool_ids"), n_rows, "'candidate_pool_ids'")
    if not pool:
        raise ValueError("'candidate_pool_ids' is empty")
    if row in pool:
        raise ValueError("its pool holds the query itself")
    return pool


def _steps(record: dict[str, Any], row: int, pool: int) -> list[StepLabels]:
    listed = record.get("steps")
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"'steps' is {_short(listed)}, not a filled list")
    steps: dict[Prefix, StepLabels] = {}
    for step in listed:
        if not isinstance(step, dict) or not {"prefix", "base", "values"} <= step.keys():
            raise ValueError(f"{_short(step)} in 'steps' is not an object with prefix, base and values")
        prefix = _distinct(step["prefix"], pool, "'prefix'")
        if prefix in steps:
            raise ValueError(f"the prefix {brief(list(prefix))} occurs twice")
        steps[prefix] = StepLabels(row, prefix, _values(step["values"], prefix, pool), _share(step["base"]))
    return list(steps.values())


def _values(values: Any, prefix: Prefix, pool: int) -> tuple[float | None, ...]:
    if not isinstance(values, list) or len(values) != pool:
        raise ValueError(
            f"after {brief(list(prefix))}: 'values' is {_short(values)}, not a list of {pool}, the pool's size"
        )
    found = tuple(map(_share, values))
    for place in prefix:
        if found[place] is not None:
            raise ValueError(f"after {brief(list(prefix))}: position {place} has a value, but was picked already")
    if all(value is None for value in found):
        raise ValueError(f"after {brief(list(prefix))}: no candidate has a value")
    return found


def _share(value: Any) -> float | None:
    """A number from 0 to 1, or null."""
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"{_short(value)} is neither a number from 0 to 1 nor null")
    return float(value)


def _distinct(numbers: Any, below: int | None, what: str) -> tuple[int, ...]:
    if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"{what} is {_short(numbers)}, not a list of numbers from 0 upward")
    if below is not None and numbers and max(numbers) >= below:
        raise ValueError(f"{what} holds {brief(max(numbers))}, but there are only {below}")
    if len(set(numbers)) < len(numbers):
        twice = next(number for number, count in Counter(numbers).items() if count > 1)
        raise ValueError(f"{what} holds {brief(twice)} twice")
    return tuple(numbers)


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    return brief(value, 60)
