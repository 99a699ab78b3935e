"""The records of a split's JSON files, checked one by one, in either of two layouts (SPEC B.2).

*Official*: a questions file and an annotations file, joined here by ``question_id``. *Joined*: the annotations
file alone, each of its elements carrying its ``question``, as upstream's preprocessing writes for the Hugging
Face loader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, assert_never

from icd_assets.datasets.ids import Id, OneKind, id_of
from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief

Answer = Literal["official", "most_frequent"]

# question_id, image_id, question, answer, answers, question_type, answer_type
Record = tuple[Id, Id, str, str, tuple[str, ...], str, str]

_T = TypeVar("_T")


def read_records(
    questions: Path | None, annotations: Path, answer: Answer, on_bytes: Callable[[bytes], object]
) -> list[Record]:
    """The split's records, ascending by ``question_id``; ``questions`` is None for a joined file.

    ``on_bytes`` sees each file's bytes, questions first. Raises :class:`UserError` for anything that is not a
    complete split.
    """
    texts = None if questions is None else _read_questions(questions, on_bytes)
    records: list[Record] = []
    seen: set[Id] = set()
    of_question, of_image = OneKind("question_id"), OneKind("image_id")
    for at, annotation in read_list(annotations, "annotations", on_bytes):
        question_id = of_question.check(id_of(annotation, "question_id", at), at)
        if question_id in seen:
            raise UserError(f"{at}: question_id {question_id} is annotated twice; keep one annotation of it.")
        seen.add(question_id)
        image_id = of_image.check(id_of(annotation, "image_id", at), at)
        if texts is None:
            question = field(annotation, "question", str, at)
        else:
            question = _matching(texts.pop(question_id, None), question_id, image_id, at, questions)
        answers = _answers(annotation, at)
        shown = _answer(annotation, answers, answer, at)
        records.append((question_id, image_id, question, shown, answers, *_types(annotation, at)))
    if texts:
        raise UserError(
            f"{annotations}: {len(texts)} questions of {questions} have no annotation, the first is "
            f"question_id {next(iter(texts))}; give the two files of the same split."
        )
    records.sort(key=_question_id)
    return records


def _question_id(record: Record) -> Any:
    return record[0]  # numbers or texts, never both


def read_list(
    path: Path, key: str, on_bytes: Callable[[bytes], object] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, record) of each element of the top-level list ``key``; places are for error messages.

    An element is let go once it was handed out: two copies of VQAv2 would fill the memory.
    """
    content = read_json(path, on_bytes=on_bytes, compact=_Compact())
    if not isinstance(content, dict) or key not in content:
        raise UserError(f"{path} has no key {key!r} at its top level; give the official VQA {key} file.")
    records = content[key]
    if not isinstance(records, list) or not records:
        raise UserError(f"{path}: {key!r} is not a list of records; give the official VQA {key} file.")
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise UserError(f"{path}: {key}[{index}] is not a record; give the official VQA {key} file.")
        records[index] = None
        yield f"{path}: {key}[{index}]", record


def field(record: dict[str, Any], key: str, kind: type[_T], at: str) -> _T:
    """A required value of a record, of exactly this type."""
    if key not in record:
        raise UserError(f"{at} has no key {key!r}; give the official VQA file.")
    value = record[key]
    if type(value) is not kind:  # a bool is an int, but not an id
        raise UserError(
            f"{at}: {key!r} is {brief(value)}, not of type {kind.__name__}; give the official VQA file."
        )
    return value


class _Compact:
    """Each annotator record becomes its answer at once: ten objects per question would cost gigabytes."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, record: dict[str, Any]) -> Any:
        answer = record.get("answer")
        if isinstance(answer, str) and "question_id" not in record:
            return self._known.setdefault(answer, answer)
        return record


def _read_questions(path: Path, on_bytes: Callable[[bytes], object]) -> dict[Id, tuple[Id, str]]:
    """``question_id`` → (``image_id``, question)."""
    texts: dict[Id, tuple[Id, str]] = {}
    for at, record in read_list(path, "questions", on_bytes):
        question_id = id_of(record, "question_id", at)
        if question_id in texts:
            raise UserError(f"{at}: question_id {question_id} occurs twice; each question needs its own id.")
        texts[question_id] = (id_of(record, "image_id", at), field(record, "question", str, at))
    return texts


def _matching(asked: tuple[Id, str] | None, question_id: Id, image_id: Id, at: str, questions: Path | None) -> str:
    """The question that an annotation answers; it must be about the same image."""
    if asked is None:
        raise UserError(
            f"{at}: question_id {question_id} has no question in {questions}; "
            "give the two files of the same split."
        )
    if image_id != asked[0]:
        raise UserError(
            f"{at}: question_id {question_id} is about image {image_id}, but in {questions} "
            f"about image {asked[0]}; give the two files of the same split."
        )
    return asked[1]


def _answers(annotation: dict[str, Any], at: str) -> tuple[str, ...]:
    raw = annotation.get("answers")
    if not isinstance(raw, list) or not raw:
        raise UserError(f"{at}: 'answers' is missing or empty; each question needs at least one answer.")
    for index, answer in enumerate(raw):
        if not isinstance(answer, str):
            raise UserError(f"{at}: answers[{index}] has no text under the key 'answer'; fix the record.")
    return tuple(raw)


def _answer(annotation: dict[str, Any], answers: tuple[str, ...], taken: Answer, at: str) -> str:
    """The official answer if that is asked for and there, else the most frequent one (ties: the first seen)."""
    match taken:
        case "official":
            if annotation.get("multiple_choice_answer") is not None:
                return field(annotation, "multiple_choice_answer", str, at)
        case "most_frequent":
            pass
        case _:
            assert_never(taken)
    return max(dict.fromkeys(answers), key=answers.count)


def _types(annotation: dict[str, Any], at: str) -> tuple[str, str]:
    """Both are labels for tables; the metric does not use them."""
    given = {"question_type": "", "answer_type": "other"} | annotation
    return field(given, "question_type", str, at), field(given, "answer_type", str, at)
