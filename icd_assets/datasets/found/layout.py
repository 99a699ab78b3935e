"""What one data file holds: official questions or annotations, both joined, captions, choices, or a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from icd_assets.datasets.found.names import columns_by_name, complete
from icd_assets.datasets.json_file import read_json
from icd_assets.datasets.table_file import FORMATS, TableFile
from icd_assets.errors import UserError

Kind = Literal["questions", "annotations", "joined", "table", "choices", "captions"]

_CAPTIONS = {"image_id", "caption"}  # the keys of COCO's caption annotations
_FIRST = 200  # records by which columns are known
_DELIMITERS = ",;\t|"


@dataclass
class Piece:
    """A file that is part of a dataset. ``table``: fields of its entry, without its path."""

    path: Path
    kind: Kind
    ids: frozenset[Any] = frozenset()  # of official questions and annotations
    table: dict[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()  # the values of its split column
    choices: bool = False  # a table that could be read as multiple choice


@dataclass(frozen=True)
class Hints:
    """What the user says about tables."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    delimiter: str | None = None
    encoding: str | None = None

    @classmethod
    def given(cls, columns: Mapping[str, Any], delimiter: str | None, encoding: str | None) -> Hints:
        """Checked. Raises :class:`UserError` for what no table can have."""
        try:
            file = TableFile(path="", delimiter=delimiter, encoding=encoding)
        except ValidationError as error:
            raise UserError(f"{error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None
        return cls(columns, file.delimiter, file.encoding)


def look_at(path: Path, hints: Hints, *, named: bool = False) -> Piece | None:
    """None for a file that holds no questions; ``named``: the user says that it does.

    Raises :class:`UserError` for a file that is broken.
    """
    kind = FORMATS[path.suffix.lower()]
    if kind == "json":
        return _json(path, hints, named)
    given = {"encoding": hints.encoding} if hints.encoding else {}
    if kind in ("csv", "tsv"):
        given |= _delimiter(path, hints, "\t" if kind == "tsv" else ",")
    return _table(path, given, hints, named)


def _json(path: Path, hints: Hints, named: bool) -> Piece | None:
    content = read_json(path, not_finite=True, encoding=hints.encoding)
    first: dict[str, list[Any]] = {}
    if isinstance(content, dict):
        first = {key: value for key, value in content.items() if isinstance(value, list) and value}
    if {"images", "annotations"} <= set(first) and _keys(first["annotations"]) >= _CAPTIONS:
        return Piece(path, "captions")
    for key, needed in (("questions", {"question"}), ("annotations", {"answers"})):
        records = first.get(key, [])
        if {"question_id", "image_id"} | needed <= _keys(records):
            if {"question", "answers"} <= _keys(records):
                if key == "annotations":
                    return Piece(path, "joined")
                continue
            ids = frozenset(_hashable(one.get("question_id")) for one in records if isinstance(one, dict))
            return Piece(path, "questions" if key == "questions" else "annotations", ids)
    given: dict[str, Any] = {"encoding": hints.encoding} if hints.encoding else {}
    if isinstance(content, dict):
        if len(lists := [key for key, value in first.items() if isinstance(value[0], (dict, list))]) == 1:
            given["records"] = lists[0]
        elif _by_column(content):
            if named:
                raise UserError(f"{path} holds columns, not records; write it with pandas' orient='records'.")
            return None
    return _table(path, given, hints, named)


def _table(path: Path, given: dict[str, Any], hints: Hints, named: bool) -> Piece | None:
    file = TableFile(path=str(path), **given)
    try:
        rows = [row for _, row in islice(file.rows(), _FIRST)]
    except UserError:
        if path.suffix.lower() == ".json" and not named:
            return None  # JSON of another form
        raise
    if not rows:
        return None
    columns = {**columns_by_name(rows), **hints.columns}
    first = rows[0]
    if path.suffix.lower() == ".json" and {"choices", "correct_choice_idx", "question_id"} <= set(first):
        if not complete(columns):
            return Piece(path, "choices")
        choices = True
    else:
        choices = False
    if not complete(columns):
        if not named:
            return None
        there = ", ".join(str(name)[:40] for name in list(first)[:20])
        lacking = [role for role in ("question", "image_id", "answers") if role not in columns]
        raise UserError(
            f"{path} has the columns {there}, none of which is {lacking[0]} by "
            f"its name; say which: --columns {lacking[0]}=NAME."
        )
    parts: tuple[str, ...] = ()
    if "split" in columns:
        column = columns["split"]
        parts = tuple(dict.fromkeys(str(row.get(column) or "").strip() for _, row in file.rows()))[:20]
        if len(parts) == 1:
            columns.pop("split")
            parts = ()
    return Piece(path, "table", table={**given, "columns": columns}, parts=parts, choices=choices)


def _delimiter(path: Path, hints: Hints, usual: str) -> dict[str, Any]:
    """The one that splits the first line into known columns; only what is not the usual one is written down."""
    if hints.delimiter is not None:
        return {} if hints.delimiter == usual else {"delimiter": hints.delimiter}
    # One column: the raw first line, decoded as the table's reader does.
    probe = TableFile(path=str(path), format="csv", encoding=hints.encoding, delimiter="\x1f", header=False)
    try:
        _, row = next(probe.rows())
    except (UserError, StopIteration):
        return {}  # the reader says what is wrong
    line = str(row[0])
    for delimiter in (usual, *_DELIMITERS):
        names = next(csv.reader([line], delimiter=delimiter), [])
        if len(names) > 1 and (complete(columns_by_name([dict.fromkeys(names)])) or len(hints.columns) >= 3):
            return {} if delimiter == usual else {"delimiter": delimiter}
    return {}


def _keys(records: Any) -> set[Any]:
    """The keys of a list's first record."""
    first = records[0] if isinstance(records, list) and records else None
    return set(first) if isinstance(first, dict) else set()


def _by_column(content: dict[str, Any]) -> bool:
    """Whether a JSON object holds one object or list per column, as pandas writes it by default."""
    return complete(columns_by_name([dict.fromkeys(content)]))


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else repr(value)
