"""Official VQA files as rows: a row is a question's index in its split sorted by ``question_id`` (SPEC B.3).

Deviations from upstream:
1. A split's official ``multiple_choice_answer`` is always kept; upstream overwrites it by the mode of the raw
   answers when both splits are loaded together (SPEC B.3), so that the same row had two answers.
2. A question without annotation, or an annotation without question, is an error, not a hole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError

_T = TypeVar("_T", int, str)


@dataclass(frozen=True, slots=True)
class VqaItem:
    """One question about one image; a demonstration shows ``answer``, the annotators gave ``answers``."""

    row: int
    question_id: int
    image_id: int
    question: str
    answer: str
    answers: tuple[str, ...]
    question_type: str
    answer_type: str
    image: Path


# question_id, image_id, question, answer, answers, question_type, answer_type
_Record = tuple[int, int, str, str, tuple[str, ...], str, str]


class VqaSplit(Sequence[VqaItem]):
    """The items of one split in row order, built when asked for: 444k paths would fill the memory."""

    def __init__(self, dataset: str, split: str, digest: str, images: str, records: list[_Record]) -> None:
        self.dataset = dataset
        self.split = split
        self.digest = digest
        self._images = images
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> VqaItem: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[VqaItem, ...]: ...
    def __getitem__(self, index: int | slice) -> VqaItem | tuple[VqaItem, ...]:
        if isinstance(index, slice):
            return tuple(self._item(row) for row in range(*index.indices(len(self))))
        return self._item(range(len(self))[index])

    def __iter__(self) -> Iterator[VqaItem]:
        return map(self._item, range(len(self)))

    def _item(self, row: int) -> VqaItem:
        image = Path(self._images.format(image_id=self._records[row][1]))
        return VqaItem(row, *self._records[row], image)


def read_split(dataset: str, split: str, questions: Path, annotations: Path, images: str) -> VqaSplit:
    """Join the official questions and annotations by ``question_id``.

    ``images`` is a pattern such as ``…/COCO_train2014_{image_id:012d}.jpg``. The digest is the SHA-256 of
    both files' bytes, questions first. Raises :class:`UserError` for anything that is not a complete pair of
    files.
    """
    _check_pattern(images)
    digest = hashlib.sha256()
    texts = _read_questions(questions, digest.update)
    records: list[_Record] = []
    seen: set[int] = set()
    for at, annotation in _read_list(annotations, "annotations", digest.update):
        question_id = _field(annotation, "question_id", int, at)
        if question_id in seen:
            raise UserError(f"{at}: question_id {question_id} is annotated twice; keep one annotation of it.")
        seen.add(question_id)
        if (question := texts.pop(question_id, None)) is None:
            raise UserError(
                f"{at}: question_id {question_id} has no question in {questions}; "
                "give the two files of the same split."
            )
        image_id = _field(annotation, "image_id", int, at)
        if image_id != question[0]:
            raise UserError(
                f"{at}: question_id {question_id} is about image {image_id}, but in {questions} "
                f"about image {question[0]}; give the two files of the same split."
            )
        answers = _answers(annotation, at)
        answer = _answer(annotation, answers, at)
        records.append((question_id, *question, answer, answers, *_types(annotation, at)))
    if texts:
        raise UserError(
            f"{annotations}: {len(texts)} questions of {questions} have no annotation, the first is "
            f"question_id {min(texts)}; give the two files of the same split."
        )
    records.sort(key=lambda record: record[0])
    return VqaSplit(dataset, split, digest.hexdigest(), images, records)


def _read_questions(path: Path, on_bytes: Any) -> dict[int, tuple[int, str]]:
    """``question_id`` → (``image_id``, question)."""
    texts: dict[int, tuple[int, str]] = {}
    for at, record in _read_list(path, "questions", on_bytes):
        question_id = _field(record, "question_id", int, at)
        if question_id in texts:
            raise UserError(f"{at}: question_id {question_id} occurs twice; each question needs its own id.")
        texts[question_id] = (_field(record, "image_id", int, at), _field(record, "question", str, at))
    return texts


def _read_list(path: Path, key: str, on_bytes: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, record) of each element of the top-level list ``key``; places are for error messages."""
    content = read_json(path, on_bytes=on_bytes, compact=_Compact())
    if not isinstance(content, dict) or key not in content:
        raise UserError(f"{path} has no key {key!r} at its top level; give the official VQA {key} file.")
    if not isinstance(content[key], list) or not content[key]:
        raise UserError(f"{path}: {key!r} is not a list of records; give the official VQA {key} file.")
    for index, record in enumerate(content[key]):
        if not isinstance(record, dict):
            raise UserError(f"{path}: {key}[{index}] is not a record; give the official VQA {key} file.")
        yield f"{path}: {key}[{index}]", record


class _Compact:
    """Each annotator record becomes its answer at once: ten objects per question would cost gigabytes."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, record: dict[str, Any]) -> Any:
        answer = record.get("answer")
        if isinstance(answer, str) and "question_id" not in record:
            return self._known.setdefault(answer, answer)
        return record


def _field(record: dict[str, Any], key: str, kind: type[_T], at: str) -> _T:
    if key not in record:
        raise UserError(f"{at} has no key {key!r}; give the official VQA file.")
    value = record[key]
    if type(value) is not kind:  # a bool is an int, but not an id
        raise UserError(f"{at}: {key!r} is {value!r}, not of type {kind.__name__}; give the official VQA file.")
    return value


def _answers(annotation: dict[str, Any], at: str) -> tuple[str, ...]:
    raw = annotation.get("answers")
    if not isinstance(raw, list) or not raw:
        raise UserError(f"{at}: 'answers' is missing or empty; each question needs at least one answer.")
    for index, answer in enumerate(raw):
        if not isinstance(answer, str):
            raise UserError(f"{at}: answers[{index}] has no text under the key 'answer'; mend the record.")
    return tuple(raw)


def _answer(annotation: dict[str, Any], answers: tuple[str, ...], at: str) -> str:
    """The official answer, else the most frequent one (the first seen wins a tie)."""
    if annotation.get("multiple_choice_answer") is not None:
        return _field(annotation, "multiple_choice_answer", str, at)
    return max(dict.fromkeys(answers), key=answers.count)


def _types(annotation: dict[str, Any], at: str) -> tuple[str, str]:
    """Both are labels for tables; the metric does not use them."""
    given = {"question_type": "", "answer_type": "other"} | annotation
    return _field(given, "question_type", str, at), _field(given, "answer_type", str, at)


def _check_pattern(images: str) -> None:
    try:
        distinct = images.format(image_id=1) != images.format(image_id=2)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"image pattern {images!r} cannot be filled ({error!r}); write it like COCO_{{image_id:012d}}.jpg."
        ) from None
    if not distinct:
        raise UserError(
            f"image pattern {images!r} does not use {{image_id}}; write it like COCO_{{image_id:012d}}.jpg."
        )
