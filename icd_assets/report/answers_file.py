"""Anybody's answers as a table: ``question_id`` with ``answer``, ``score`` or both, one record a question."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.datasets.table_file import FORMATS, TableFile
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief

if TYPE_CHECKING:
    from icd_assets.report.gallery import Row

_TEXTS = ("answer", "raw", "strategy")


def is_answers_file(path: Path) -> bool:
    return path.suffix.lower() in FORMATS


def read_answers(path: Path) -> list[Row]:
    """Records with ``question_id``, ``answer`` and ``score`` (one of the two may be None), and of our former
    ``predictions.jsonl`` with ``strategy``, ``shots``, ``image_id`` and ``raw``.

    Raises ``UserError`` naming file and line.
    """
    return [_record(values, at) for at, values in _rows(path)]


def _rows(path: Path) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    try:
        yield from TableFile(path=str(path)).rows()
    except ValueError as error:  # pyarrow's, of a type that Python has no value of
        raise UserError(f"{path} cannot be read ({str(error)[:80]}); write plain numbers and texts.") from None


def _record(values: Mapping[Any, Any], at: str) -> Row:
    for name in ("question_id", *_TEXTS):
        _require_text(values.get(name), name, at)
    id, answer = values.get("question_id"), values.get("answer")
    if not _is_id(id):
        raise UserError(f"{at} has no question_id; give each record one, a whole number or a text.")
    if (score := _score(values.get("score"), at)) is None and not isinstance(answer, str):
        raise UserError(f"{at} has neither an answer, a text, nor a score, a number; give one of the two.")
    row: dict[str, Any] = {name: values[name] for name in ("strategy", "raw") if isinstance(values.get(name), str)}
    if (shots := _whole(values.get("shots"))) is not None:
        row["shots"] = shots
    if _is_id(values.get("image_id")):
        row["image_id"] = values["image_id"]
    return row | {"question_id": id, "answer": answer if isinstance(answer, str) else None, "score": score}


def _require_text(value: Any, name: str, at: str) -> None:
    try:
        value.encode() if isinstance(value, str) else None
    except UnicodeEncodeError:
        raise UserError(f"{at}: its {name} holds half a character (a lone surrogate); fix that record.") from None


def _is_id(value: Any) -> bool:
    """A number that a table can hold, or a text."""
    return isinstance(value, str) or (type(value) is int and abs(value) < 1 << 63)


def _whole(value: Any) -> int | None:
    """A number of shots; a text of CSV, too."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4:
        return int(value)
    return value if type(value) is int and 0 <= value < 1000 else None


def _score(score: Any, at: str) -> float | None:
    if score is None or score == "":  # of a record without one in a table that has the column
        return None
    try:
        if isinstance(score, bool) or not isinstance(score, int | float | str):
            raise ValueError
        if math.isfinite(number := float(score)):
            return number
    except (ValueError, OverflowError):  # a whole number beyond every float
        pass
    raise UserError(f"{at}: the score {brief(score, 40)} is no number; give one, or answers alone.")
