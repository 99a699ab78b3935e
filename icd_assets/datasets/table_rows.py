"""The columns of a table as a split's records: which column is the question, the image, the answers.

1. Without a column of ids, a question's id is its place in the file, from 0.
2. In a CSV file all is text: ids that are all written as whole numbers are numbers. ``7.0`` is 7, for pandas
   writes a column of whole numbers so once a cell of it was empty.
3. An answer is a text, a number, a record with the key ``answer``, or a list of them; a list may be written as
   text (``["a", "b"]``, or ``['a' 'b']`` as numpy does). A blank cell, null and NaN are no answer.
4. What a demonstration shows is the column ``answer``, or else the most frequent of the answers (ties: the first).
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from icd_assets.datasets.ids import Id, OneKind, id_of
from icd_assets.datasets.official import Answer, Record
from icd_assets.datasets.table_file import Column, TableFile
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief

_WHOLE = re.compile(r"(0|[1-9]\d{0,17})(?:\.0)?")
_NOT_A_NUMBER = ("nan", "NaN", "NAN")
_MOST = 3_000_000  # records; VQAv2 has 0.7 million
_LONGEST = 100_000  # characters of a cell that is read as a list
_TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_TEXTS = re.compile(rf"\[\s*(?:(?:{_TEXT.pattern})\s*)+\]")
_ARRAY = re.compile(r"array\((\[.*\])(?:,\s*dtype=\w+)?\)", re.DOTALL)


class Columns(BaseModel):
    """Which column holds what: by name, or by place where records are lists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Column
    image_id: Column  # a number or a path, put into the images pattern
    answers: Column | list[Column]
    question_id: Column | None = None
    answer: Column | None = None
    question_type: Column | None = None
    answer_type: Column | None = None
    split: Column | None = None


class Table(TableFile):
    """A table and its columns: what a split of the catalog says under ``table``."""

    columns: Columns
    split: str | None = None  # take the records whose column ``split`` says so
    unanswered: Literal["refuse", "leave_out"] = "refuse"

    @field_validator("split", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


def read_table_records(table: Table, answer: Answer, on_bytes: Callable[[bytes], object]) -> list[Record]:
    """The split's records, ascending by id. Raises :class:`UserError` for anything that is no complete split."""
    named, columns = table.path, table.columns
    found: list[tuple[str, bool, Record]] = []
    unanswered: list[str] = []
    unseen = _columns(columns)
    first: list[Column] = []
    for index, (at, row) in enumerate(table.rows(on_bytes, list(unseen))):
        if index == _MOST:
            raise UserError(f"{named} has over {_MOST:,} records; give those of one split, or a part of them.")
        if index == 0:
            first = list(row)
            _require({columns.question: "question", columns.image_id: "image_id"}, first, at)
        if unseen:
            unseen = {column: role for column, role in unseen.items() if column not in row}
        if columns.question_id is None:
            question_id: Id = index
        else:
            question_id = _id(row, columns.question_id, at)
        image_id = _image_id(row, columns.image_id, at)
        taken = table.split is None or _split_of(row, columns, at) == table.split
        answers = tuple(_all_answers(row, columns.answers, at)) if taken else ()
        if taken and not answers:
            unanswered.append(f"{at.removeprefix(f'{named}: ')} (question_id {question_id})")
            taken = False
        if not taken:
            found.append((at, False, (question_id, image_id, "", "", (), "", "")))
            continue
        question = _question(row, columns.question, at)
        shown = _shown(row, columns, answers, answer, at)
        kinds = _text(row, columns.question_type), _text(row, columns.answer_type) or "other"
        found.append((at, True, (question_id, image_id, question, shown, answers, *kinds)))
    if first:
        _require(unseen, first, named)
    if unanswered and table.unanswered == "refuse":
        raise UserError(
            f"{named}: {len(unanswered)} of {len(found)} questions have no answer, the first is {unanswered[0]}; "
            "fill them in, or add to the table in the catalog: unanswered: leave_out."
        )
    records = _unique(_with_ids(found, text=table.kind in ("csv", "tsv")), named)
    if not records:
        part = "" if table.split is None else f" of the split {brief(table.split)}"
        raise UserError(f"{named} has no answered question{part}; fix the table in the catalog.")
    return records


def _columns(columns: Columns) -> dict[Column, str]:
    """Every column that is named, and for what."""
    named = columns.model_dump(exclude_none=True)
    return {
        one: role for role, column in named.items() for one in (column if isinstance(column, list) else [column])
    }


def _require(columns: dict[Column, str], there: list[Column], at: str) -> None:
    """A JSON record may lack what it has no value for, but some record has each column."""
    for column, role in columns.items():
        if column not in there:
            listed = ", ".join(brief(one, 40) for one in there[:20])
            raise UserError(
                f"{at}: there is no column {brief(column)} for {role}; there are {listed}: "
                "fix columns in the catalog."
            )


def _with_ids(found: list[tuple[str, bool, Record]], *, text: bool) -> Iterator[tuple[str, Record]]:
    """What was taken; whole numbers that are written as text are numbers if all of a column are."""
    places: list[Literal[0, 1]] = [0, 1]
    whole = [text and all(_WHOLE.fullmatch(str(record[place])) for _, _, record in found) for place in places]
    kinds = OneKind("question_id"), OneKind("image_id")
    for at, taken, record in found:
        ids = [int(str(record[place]).removesuffix(".0")) if whole[place] else record[place] for place in places]
        for kind, value in zip(kinds, ids, strict=True):
            kind.check(value, at)
        if taken:
            yield at, (ids[0], ids[1], *record[2:])


def _unique(records: Iterator[tuple[str, Record]], path: str) -> list[Record]:
    seen: dict[Id, tuple[str, Record]] = {}
    for at, record in records:
        if (other := seen.setdefault(record[0], (at, record)))[0] != at:
            raise UserError(
                f"{at}: question_id {brief(record[0])} occurs twice, first at "
                f"{other[0].removeprefix(f'{path}: ')}; give each question its own id."
            )
    order: Callable[[tuple[str, Record]], Any] = lambda pair: pair[1][0]  # noqa: E731
    return [record for _, record in sorted(seen.values(), key=order)]


def _id(row: dict[Column, Any], column: Column, at: str) -> Id:
    value = row.get(column)
    if isinstance(value, (dict, bytes)):
        raise UserError(
            f"{at}: {brief(column)} holds a picture inside the table; write the pictures into files, and their "
            "paths into the table."
        )
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        value = int(value)
    if isinstance(value, str):
        value = value.strip()
    return id_of({str(column): value}, str(column), at, "fix the record")


def _image_id(row: dict[Column, Any], column: Column, at: str) -> Id:
    """A path as this machine writes it, where Windows wrote it."""
    value = _id(row, column, at)
    return value.replace("\\", "/") if isinstance(value, str) else value


def _question(row: dict[Column, Any], column: Column, at: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{at}: {brief(column)} is {brief(value, 40)}, not a question; fix the record.")
    return value


def _split_of(row: dict[Column, Any], columns: Columns, at: str) -> str:
    if columns.split is None:
        raise UserError(f"{at}: a split is to be taken, but columns.split is not named; add it in the catalog.")
    return _text(row, columns.split)


def _text(row: dict[Column, Any], column: Column | None) -> str:
    value = None if column is None else row.get(column)
    return "" if value is None else str(value).strip()


def _shown(row: dict[Column, Any], columns: Columns, answers: tuple[str, ...], answer: Answer, at: str) -> str:
    if columns.answer is not None and answer == "official":
        given = list(_answers(row.get(columns.answer), at))
        if len(given) == 1:
            return given[0]
    return max(dict.fromkeys(answers), key=answers.count)


def _all_answers(row: dict[Column, Any], columns: Column | list[Column], at: str) -> Iterator[str]:
    for column in columns if isinstance(columns, list) else [columns]:
        yield from _answers(row.get(column), at)


def _answers(value: Any, at: str) -> Iterator[str]:
    """The texts that a cell means."""
    match value:
        case None:
            return
        case bool():
            raise UserError(
                f"{at}: an answer is {str(value).lower()}, which shows no word; write the answer's text."
            )
        case str():
            yield from _of_text(value, at)
        case int():
            yield str(value)
        case float():
            if math.isfinite(value):
                yield str(value)
        case {"answer": inner}:
            yield from _answers(inner, at)
        case list():
            for inner in value:
                yield from _answers(inner, at)
        case _:
            raise UserError(f"{at}: an answer is {brief(value, 40)}, not a text; fix the record.")


def _of_text(text: str, at: str) -> Iterator[str]:
    text = text.strip()
    if not text or text in _NOT_A_NUMBER:
        return
    listed = _list(text)
    if listed is None:
        yield text
    else:
        yield from _answers(listed, at)


def _list(text: str) -> list[Any] | None:
    """What ``["a", "b"]``, ``['a', 'b']`` and numpy's ``['a' 'b']`` hold; None for any other text."""
    if match := _ARRAY.fullmatch(text):
        text = match[1]
    if not (text.startswith("[") and text.endswith("]")) or len(text) > _LONGEST:
        return None
    if _TEXTS.fullmatch(text):  # with commas, for to Python two texts with nothing between them are one
        text = f"[{', '.join(_TEXT.findall(text))}]"
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return found
    return None
