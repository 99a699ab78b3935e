"""The questions one by one: what each side chose for them, what the model answered, and what is right.

A *side* is whatever is compared: a strategy of one evaluation, or the same of several evaluations. Its rows are
those of a table of predictions (:mod:`icd_assets.evaluation.predictions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from icd_assets.datasets.ids import Id
from icd_assets.datasets.vqa import VqaSplit
from icd_assets.report.thumbnails import Thumbnails, thumbnails
from icd_assets.runtime.progress import OnProgress, ignore

Row = Mapping[str, Any]

# Bytes of pictures: of a page with few questions, and of each further question.
_BUDGET, _FEW, _EACH = 3_500_000, 300, 3_000


class Pictures(Protocol):
    """Where pictures lie. What a file of predictions says of paths is never followed."""

    def of_question(self, question_id: Id) -> Path | None: ...
    def of_demonstration(self, row: int) -> Path | None: ...


class NoPictures:
    """Of questions whose pictures nobody knows."""

    def of_question(self, question_id: Id) -> Path | None:
        return None

    def of_demonstration(self, row: int) -> Path | None:
        return None


class SplitPictures:
    """Those of a dataset's splits."""

    def __init__(self, validation: VqaSplit, train: VqaSplit) -> None:
        self._validation, self._train = validation.images, train.images
        self._rows = {id: row for row, id in enumerate(validation.question_ids.tolist())}

    def of_question(self, question_id: Id) -> Path | None:
        row = self._rows.get(question_id)
        return None if row is None else self._validation[row]

    def of_demonstration(self, row: int) -> Path | None:
        return self._train[row] if 0 <= row < len(self._train) else None


@dataclass
class _Numbered:
    """Things in the order in which they were first met, each with its number."""

    numbers: dict[Any, int] = field(default_factory=dict)

    def of(self, thing: Any) -> int:
        return self.numbers.setdefault(thing, len(self.numbers))


@dataclass(frozen=True, slots=True)
class Gallery:
    """``data``: what the script reads; ``pictures``: the thumbnails that its numbers mean."""

    data: dict[str, Any]
    pictures: Thumbnails


def gallery(
    sides: Mapping[str, Sequence[Row]],
    pictures: Pictures,
    *,
    shown: tuple[str, str],
    relation: str = "all",
    on_progress: OnProgress = ignore,
) -> Gallery:
    """The questions of the first side, in its order, with what every side chose and got.

    shown: the two sides that the page begins with; their pictures are the larger ones where not all fit.
    """
    first, *_ = sides.values()
    found, demonstrations = _Numbered(), _Numbered()
    questions = [_question(row, found.of(pictures.of_question(row["question_id"]))) for row in first]
    place = {row["question_id"]: at for at, row in enumerate(first)}
    chosen: dict[str, list[Any]] = {name: [None] * len(first) for name in sides}
    listed, important = list[list[Any]](), 0
    for names in (dict.fromkeys(shown), [name for name in sides if name not in shown]):
        for name in names:
            for row in sides[name]:
                numbers = [demonstrations.of(_demonstration(one)) for one in row["demonstrations"]]
                chosen[name][place[row["question_id"]]] = [
                    round(row["score"], 4),
                    row["answer"],
                    numbers,
                    *_raw(row),
                ]
        for number, question, answer in list(demonstrations.numbers)[len(listed) :]:
            listed.append([question, answer, found.of(pictures.of_demonstration(number)), number])
        important = important or len(found.numbers)
    budget = _BUDGET + _EACH * max(0, len(first) - _FEW)
    data = {
        "sides": list(sides),
        "shown": list(shown),
        "relation": relation,
        "questions": questions,
        "demonstrations": listed,
        "chosen": [chosen[name] for name in sides],
    }
    return Gallery(data, thumbnails(list(found.numbers), budget, important, on_progress))


def _question(row: Row, picture: int) -> list[Any]:
    names = ("question_id", "question", "gold", "answers", "question_type", "answer_type")
    return [*(row[name] for name in names), picture]


def _demonstration(shown: Row) -> tuple[int, str, str]:
    return shown["row"], shown["question"], shown["answer"]


def _raw(row: Row) -> list[str]:
    """What the model wrote, where it is not what was scored."""
    return [row["raw"]] if row["raw"].strip() != row["answer"] else []
