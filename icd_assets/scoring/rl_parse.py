"""One query of an RL data file, checked; every complaint names the file and the query.

Types and ranges are the models' (:mod:`icd_assets.scoring.rl_data`). What is here is what they cannot say: pools
and pointers, fields that contradict each other, and how the generations differ. In a pointer, null is as good as
an absent key. What :mod:`.rl_values` converts is counted by field.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.scoring.rl_data import AnsweredPointer, RlQuery
from icd_assets.scoring.rl_values import KINDS, as_kind, is_finite

_WORDS = {  # pydantic's, where ours are plainer
    "a valid number": "a finite number",  # also of an integer beyond all floats
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}
_ROWS = 1 << 53  # more than any train split has
_FIELDS = {name for model in (RlQuery, AnsweredPointer) for name in model.model_fields}
_LABELS = AnsweredPointer.model_fields.keys() - {"pointer", "not_finite"}


class Record:
    """The value under one query key. ``row`` is the query's train row, ``pointers`` its raw pointers."""

    def __init__(self, path: Path, key: str, value: Any, n_rows: int | None) -> None:
        self._path, self._key, self._n_rows = path, key, n_rows
        self.converted: Counter[str] = Counter()
        if not re.fullmatch("[0-9]{1,12}", key):
            raise self.error("the key is not a row of the train split")
        self.row = int(key)
        self._check_row(self.row, "the query")
        if not isinstance(value, dict):
            raise self.error("it is not an object")
        if "pointer_candidates" not in value and "id_list" in value:
            raise UserError(f"{path} is beam data (id_list), which has no answers to reward; give RL data.")
        self._value = value
        self.pointers = self._objects("pointer_candidates")

    def error(self, problem: str) -> UserError:
        return UserError(f"{self._path}: query {self._key[:20]}: {problem}; make rl_data again or fix the file.")

    def query(self, *, local: bool) -> RlQuery:
        """``local``: pointers are positions in ``candidate_pool_ids`` (generation 4), else rows."""
        pool = self._pool() if local else self._union()
        position = {row: at for at, row in enumerate(pool)}
        if self.row in position:
            raise self.error("its pool holds the query itself")
        places = [self._local(raw, pool) if local else self._global(raw, position) for raw in self.pointers]
        prefixes = self._objects("prefix_candidates") if local and "prefix_candidates" in self._value else []
        shorter = [self._local(raw, pool) for raw in prefixes]
        for pointers in (places, shorter) if local else ():
            if len(set(pointers)) < len(pointers):
                twice = next(pointer for pointer, count in Counter(pointers).items() if count > 1)
                raise self.error(f"pointer {brief(list(twice))} occurs twice")
        header = self._value.get("query", self._value)
        if not isinstance(header, dict):
            raise self.error("'query' is not an object")
        if self._number(header, "query_id") not in (None, self.row):
            raise self.error(f"'query_id' is {brief(header['query_id'])}")
        return self._validated(
            row=self.row,
            question_id=self._question_id(header),
            image_id=self._number(header, "image_id"),
            role=header.get("role"),
            question=self._text(header, "question"),
            gt_answers_raw=self._answers(header, "gt_answers_raw"),
            gt_answers_norm=self._answers(header, "gt_answers_norm"),
            candidate_pool_ids=pool,
            pointers=tuple(self._answered(*pair) for pair in zip(self.pointers, places, strict=True)),
            prefixes=tuple(self._answered(*pair) for pair in zip(prefixes, shorter, strict=True)),
        )

    def _validated(self, **fields: Any) -> RlQuery:
        try:
            query = RlQuery(**fields)
        except ValidationError as error:
            raise self.error(_complaint(error)) from None
        for answered in (*query.pointers, *query.prefixes):
            if contradiction := _contradiction(answered):
                raise self.error(contradiction)
        return query

    # ---- pools and pointers ------------------------------------------------------------------------------

    def _pool(self) -> tuple[int, ...]:
        if "candidate_pool_ids" not in self._value:
            raise self.error("pointers are local (with pointer_global), but 'candidate_pool_ids' is missing")
        pool = self._integers(self._value["candidate_pool_ids"], "'candidate_pool_ids'")
        for row in pool:
            self._check_row(row, "'candidate_pool_ids'")
        return pool

    def _union(self) -> tuple[int, ...]:
        rows = {row for raw in self.pointers for row in self._integers(raw.get("pointer"), "'pointer'")}
        for row in rows:
            self._check_row(row, "'pointer'")
        return tuple(sorted(rows))

    def _local(self, raw: dict[str, Any], pool: tuple[int, ...]) -> tuple[int, ...]:
        pointer = self._integers(raw.get("pointer"), "'pointer'")
        for place in pointer:
            if not 0 <= place < len(pool):
                raise self.error(f"pointer {brief(list(pointer))} leaves the pool of {len(pool)}")
        rows = tuple(pool[place] for place in pointer)
        if self._integers(raw.get("pointer_global"), "'pointer_global'") != rows:
            raise self.error(
                f"pointer {brief(list(pointer))} means rows {brief(list(rows))}, but 'pointer_global' says "
                "otherwise"
            )
        if raw.get("pointer_pos") not in (None, list(rows)):
            raise self.error("'pointer_pos' stands beside a local pointer and differs from 'pointer_global'")
        return pointer

    def _global(self, raw: dict[str, Any], position: dict[int, int]) -> tuple[int, ...]:
        pointer = self._integers(raw.get("pointer"), "'pointer'")
        if raw.get("pointer_pos") not in (None, list(pointer)):
            raise self.error("'pointer_pos' differs from the global 'pointer', so the pool is not known")
        return tuple(position[row] for row in pointer)

    # ---- fields ------------------------------------------------------------------------------------------

    def _answered(self, raw: dict[str, Any], pointer: tuple[int, ...]) -> dict[str, Any]:
        """The fields of an :class:`AnsweredPointer`, not yet validated; upstream's further keys are left out."""
        fields = {name: value for name, value in raw.items() if value is not None and name in _LABELS}
        for name in KINDS.keys() & fields.keys():
            fields[name] = self._converted(name, fields[name])
        broken = {name for name, value in fields.items() if not is_finite(value)}
        for name in broken:
            del fields[name]
        method = raw.get("gen_method")
        if not is_finite(method):
            broken.add("source")
        fields |= {"pointer": pointer, "not_finite": frozenset(broken)}
        if method is not None and is_finite(method):
            if not isinstance(method, str):
                raise self.error(f"'gen_method' is {brief(method)}, not a valid string")
            if (fields.get("source") or method) != method:
                raise self.error(f"'source' is {brief(fields['source'])}, but 'gen_method' is {brief(method)}")
            fields["source"] = method
        return fields

    def _answers(self, header: dict[str, Any], key: str) -> tuple[str, ...]:
        """Texts, or the annotators' records of generation 5."""
        raw = header.get(key)
        if raw is None:
            return ()
        if not isinstance(raw, list):
            raise self.error(f"{key!r} is not a list")
        texts = []
        for answer in raw:
            text = answer.get("answer") if isinstance(answer, dict) else answer
            if not isinstance(text, str):
                raise self.error(f"{key!r} holds something that is not a text")
            texts.append(text)
        return tuple(texts)

    # ---- kinds of values ---------------------------------------------------------------------------------

    def _check_row(self, row: int, what: str) -> None:
        if not 0 <= row < (_ROWS if self._n_rows is None else self._n_rows):
            raise self.error(f"{what}: {brief(row)} is not a row of a train split of {self._n_rows}")

    def _converted(self, name: str, value: Any) -> Any:
        found = as_kind(value, KINDS[name])
        # An integer in a field of numbers is a number as it is.
        if type(found) is not type(value):
            self.converted[name] += 1
        return found

    def _number(self, header: dict[str, Any], key: str) -> Any:
        """An id of the dataset; one that is no number is not known to us, and counted as converted."""
        value = header.get(key)
        if type(value) is int and abs(value) >= 1 << 63:
            raise self.error(f"{key!r} is {brief(value)}, which is no id")
        if not isinstance(value, str | float):
            return value
        self.converted[key] += 1
        if isinstance(value, str):
            return int(value) if re.fullmatch("-?[0-9]{1,18}", value.strip()) else None
        return int(value) if value.is_integer() else None  # also of NaN and the infinities

    def _question_id(self, header: dict[str, Any]) -> Any:
        """A text where the dataset has texts; 12 of 12.0, as tables of numbers with gaps have it."""
        value = header.get("question_id")
        return value if isinstance(value, str) else self._number(header, "question_id")

    def _text(self, header: dict[str, Any], key: str) -> Any:
        """A number is its text, NaN no text; both are counted as converted."""
        value = header.get(key)
        if type(value) not in (int, float):
            return value
        self.converted[key] += 1
        return str(value) if is_finite(value) else None

    def _objects(self, key: str) -> list[dict[str, Any]]:
        value = self._value.get(key)
        if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
            raise self.error(f"{key!r} is missing or not a list of objects")
        return value

    def _integers(self, value: Any, what: str) -> tuple[int, ...]:
        if not isinstance(value, list) or not value or not all(type(number) is int for number in value):
            raise self.error(f"{what} is {brief(value)}, not a list of integers")
        if len(set(value)) < len(value):
            raise self.error(f"{what} holds a number twice: {brief(value)}")
        return tuple(value)


def _complaint(error: ValidationError) -> str:
    """Field, what was found, what it should be."""
    first = error.errors(include_url=False)[0]
    place = [part for part in first["loc"] if not isinstance(part, str) or part in _FIELDS]  # no type of a union
    field = next(part for part in reversed(place) if isinstance(part, str))
    verb = "is" if place[-1] == field else "holds"
    should = first["msg"].removeprefix("Input should be ")
    for words, ours in _WORDS.items():
        should = should.replace(words, ours)
    return f"{field!r} {verb} {brief(first['input'], 60)}, not {should}"


def _contradiction(answered: AnsweredPointer) -> str | None:
    correct, accuracy = answered.vqa_correct, answered.vqa_acc_score
    if answered.cider is not None and (correct, accuracy) != (None, None):
        return "a pointer has both 'cider' and VQA labels"
    if correct is None or accuracy is None or answered.vqa_eval_mode != "vqaEval":
        return None
    return (
        f"'vqa_correct' is {correct} although 'vqa_acc_score' is {accuracy}" if correct != (accuracy > 0) else None
    )
