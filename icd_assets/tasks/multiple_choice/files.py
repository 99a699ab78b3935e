"""A-OKVQA's files as rows (Schwenk et al. 2022, arXiv:2206.01718, ``aokvqa_v1p0_train.json``).

One JSON list per split: ``{"split", "image_id", "question_id", "question", "choices", "correct_choice_idx", …}``;
``direct_answers`` and ``rationales`` are not read. In the order of ``question_id``, as all rows are.

1. A question id is a text there and a number here: the first 53 bits of its SHA-256, which any JSON reader keeps.
2. The row's question holds the options, lettered from A; its answer is the right option's text; its answers are
   that text, then the letters that mean it. A letter is left out where another option's text reads like it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, TypeVar

from icd_assets.datasets.columns import table_of
from icd_assets.datasets.ids import OneKind, id_of
from icd_assets.datasets.ids import id_number as question_number
from icd_assets.datasets.json_file import read_json
from icd_assets.datasets.vqa import VqaSplit, split_of
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.tasks.multiple_choice.metric import plain
from icd_assets.tasks.task import SplitFiles

if TYPE_CHECKING:
    from icd_assets.datasets.official import Answer, Record
    from icd_assets.store.digests import DigestCache

_T = TypeVar("_T")
_FIX = "give A-OKVQA's file, or one of its form"


class ChoiceFiles(SplitFiles):
    """The questions of one split. ``split`` is what to take of a file of several splits."""

    questions: str
    split: str | None = None

    def locate(self, what: str) -> list[Path]:
        return [self.existing(self.questions, what)]

    def parts(self) -> list[str | None]:
        return [self.split]

    def read(self, dataset: str, split: str, *, answer: Answer, digests: DigestCache, folder: Path) -> VqaSplit:
        return read_choices(dataset, split, Path(self.questions), self.images, self.split)


def read_choices(dataset: str, split: str, path: Path, images: str, part: str | None = None) -> VqaSplit:
    """The questions of one split with their options.

    The digest is the SHA-256 of the file's bytes and of ``part``. Raises :class:`UserError` for anything that is
    not a complete file of answered questions.
    """
    digest = hashlib.sha256()
    content = read_json(path, on_bytes=digest.update)
    if part is not None:
        digest.update(part.encode())
    records: dict[Any, Record] = {}
    of_image = OneKind("image_id")
    for at, record in _taken(path, content, part):
        read = _record(record, at)
        if read[0] in records:
            raise UserError(f"{at}: question_id {brief(record['question_id'])} occurs twice; keep one of the two.")
        of_image.check(read[1], at)
        records[read[0]] = read
    try:
        table = table_of([records[question_id] for question_id in sorted(records)])
    except UnicodeEncodeError as error:
        raise UserError(
            f"{path}: the text {error.object[:40]!r} holds half a character (a lone surrogate); fix that record."
        ) from None
    return split_of(dataset, split, digest.hexdigest(), images, table, str(path))


def lettered(question: str, choices: Sequence[str]) -> str:
    """The question as a prompt shows it.

    >>> print(lettered("What is it?", ["a dog", "a cat"]))
    What is it?
    A. a dog
    B. a cat
    """
    options = (f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False))
    return "\n".join([question, *options])


def accepted(choices: Sequence[str], right: int) -> tuple[str, ...]:
    """The right option's text, and each letter that means it and no other option.

    >>> accepted(["dog", "cat"], 1), accepted(["b", "a"], 0)
    (('cat', 'B'), ('b',))
    """
    texts = [plain(choice) for choice in choices]
    others = {text for text in texts if text != texts[right]}
    same = (letter for letter, text in zip(ascii_uppercase, texts, strict=False) if text == texts[right])
    return (choices[right], *(letter for letter in same if plain(letter) not in others))


def _taken(path: Path, content: Any, part: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, record) of each record of the split; places are for error messages."""
    if not isinstance(content, list) or not content:
        raise UserError(f"{path} is not a list of questions; {_FIX}.")
    found: set[str] = set()
    for index, record in enumerate(content):
        at = f"{path}: [{index}]"
        if not isinstance(record, dict):
            raise UserError(f"{at} is not a record; {_FIX}.")
        own = _typed(record, "split", str, at) if "split" in record or part is not None else ""
        if part is None:
            found.add(own)
            if len(found) > 1:
                raise UserError(
                    f"{at} is of the split {brief(own)}, others of {brief(min(found - {own}))}; name the "
                    "split to take in the catalog."
                )
        if part in (None, own):
            found.add(own)
            yield at, record
    if not found:
        raise UserError(
            f"{path} has no question of the split {brief(part)}; fix the dataset's split in the catalog."
        )


def _record(record: dict[str, Any], at: str) -> Record:
    question_id = _text(record, "question_id", at)
    image_id = id_of(record, "image_id", at, _FIX)
    question, choices = _text(record, "question", at), _choices(record, at)
    if "correct_choice_idx" not in record:
        raise UserError(f"{at} has no 'correct_choice_idx', as in A-OKVQA's test split; give train or val.")
    right = _typed(record, "correct_choice_idx", int, at)
    if not 0 <= right < len(choices):
        raise UserError(
            f"{at}: 'correct_choice_idx' is {brief(right)}, but there are {len(choices)} choices; {_FIX}."
        )
    answers = accepted(choices, right)
    return question_number(question_id), image_id, lettered(question, choices), answers[0], answers, "", "choice"


def _choices(record: dict[str, Any], at: str) -> list[str]:
    found = _typed(record, "choices", list, at)
    if not 2 <= len(found) <= len(ascii_uppercase):
        raise UserError(f"{at}: there are {len(found)} choices, not 2 to {len(ascii_uppercase)}; {_FIX}.")
    for index, choice in enumerate(found):
        if not isinstance(choice, str) or not choice.strip():
            raise UserError(f"{at}: choices[{index}] is {brief(choice, 40)}, which shows nothing; {_FIX}.")
    return [" ".join(choice.split()) for choice in found]


def _text(record: dict[str, Any], key: str, at: str) -> str:
    text = " ".join(_typed(record, key, str, at).split())
    if not text:
        raise UserError(f"{at}: {key!r} is blank; {_FIX}.")
    return text


def _typed(record: dict[str, Any], key: str, kind: type[_T], at: str) -> _T:
    """A required value of exactly this type: a bool is an int, but not an index."""
    value = record.get(key)
    if type(value) is not kind:
        found = "missing" if key not in record else brief(value, 40)
        raise UserError(f"{at}: {key!r} is {found}, not of type {kind.__name__}; {_FIX}.")
    return value
