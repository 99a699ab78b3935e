"""Writes the demo data set: official VQA JSON and JPEGs, the same bytes every time.

The world's one draw of knowledge is fixed here; train and validation share it, but no picture. A third of the
pictures carry several questions, as COCO's do. Both JSON files of a split are written after its pictures, the
annotations last: where they exist, the split is complete.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from icd_assets.demo.world import (
    LORE,
    SHAPES,
    Kind,
    Knowledge,
    Scene,
    Wording,
    annotate,
    render,
)
from icd_assets.errors import UserError
from icd_assets.runtime.seeding import python_rng
from icd_assets.store.atomic import replacing, write_atomic

SEED = 7
PERCEPTION_SHARE = 0.12  # questions that ask what is seen
JPEG_QUALITY = 92


class SplitPaths(Protocol):
    """Where a split lies; ``images`` is a pattern with ``{image_id:012d}``."""

    @property
    def questions(self) -> str: ...
    @property
    def annotations(self) -> str: ...
    @property
    def images(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Split:
    """A split's size and its own range of ids."""

    name: str
    subtype: str
    questions: int
    first_image: int


TRAIN = Split("train", "train", questions=640, first_image=1001)
VALIDATION = Split("validation", "val", questions=300, first_image=501001)


@dataclass(frozen=True, slots=True)
class Row:
    """One question with its picture and answers."""

    image_id: int
    question_id: int
    scene: Scene
    wording: Wording
    answers: tuple[str, ...]


def write(train: SplitPaths, validation: SplitPaths) -> None:
    """Writes what is missing of both splits; the catalog's ``prepare`` hook."""
    for split, paths in ((TRAIN, train), (VALIDATION, validation)):
        try:
            _write_split(split, paths)
        except OSError as error:
            raise UserError(
                f"the demo data set cannot be written to {error.filename or paths.questions}: {error.strerror};"
                " set DEMO_PATH to a folder that can be written."
            ) from error


def rows(split: Split) -> list[Row]:
    """The split's questions in the order of their ids; shapes take turns."""
    knowledge = Knowledge.draw(python_rng(SEED, "demo", "knowledge"))
    rng = python_rng(SEED, "demo", split.name)
    drawn: list[Row] = []
    image_id = split.first_image
    shapes = itertools.cycle(range(len(SHAPES)))
    while len(drawn) < split.questions:
        scene = Scene.draw(rng, next(shapes))
        on_picture = min(rng.choice((1, 1, 1, 1, 2, 3)), split.questions - len(drawn))
        for number, lore in enumerate(rng.sample(LORE, on_picture)):
            kind: Kind = rng.choice(("shape", "color")) if rng.random() < PERCEPTION_SHARE else lore
            said = tuple(annotate(knowledge.answer(scene, kind), kind, rng))
            drawn.append(Row(image_id, 10 * image_id + number, scene, Wording.draw(kind, rng), said))
        image_id += 1 + rng.randrange(3)  # gaps, as in COCO: no code may count on consecutive ids
    return drawn


def _write_split(split: Split, paths: SplitPaths) -> None:
    questions, annotations = Path(paths.questions), Path(paths.annotations)
    drawn = rows(split)
    scenes = {row.image_id: row.scene for row in drawn}
    for image_id, scene in scenes.items():
        target = Path(paths.images.format(image_id=image_id))
        if not target.exists():
            picture = render(scene, python_rng(SEED, "demo", "picture", image_id))
            _write_picture(target, picture)
    for target, document in ((questions, _questions(split, drawn)), (annotations, _annotations(split, drawn))):
        if not target.exists():
            write_atomic(target, (json.dumps(document, indent=1) + "\n").encode())


def _header(split: Split) -> dict[str, Any]:
    return {
        "info": {"description": "icd_assets demo world", "version": "1.0", "year": 2025, "url": ""},
        "license": {"name": "MIT", "url": ""},
        "data_type": "demo",
        "data_subtype": split.subtype,
    }


def _questions(split: Split, drawn: list[Row]) -> dict[str, Any]:
    """SPEC B.2; the metric's result loader requires all five header keys."""
    asked = [
        {"image_id": row.image_id, "question": row.wording.text, "question_id": row.question_id} for row in drawn
    ]
    return {**_header(split), "task_type": "Open-Ended", "questions": asked}


def _annotations(split: Split, drawn: list[Row]) -> dict[str, Any]:
    """SPEC B.2, OK-VQA's form: no ``multiple_choice_answer``."""
    answered = [
        {
            "image_id": row.image_id,
            "question_id": row.question_id,
            "question_type": row.wording.kind,
            "answer_type": "other",
            "answers": [
                {"answer_id": number, "answer": said, "raw_answer": said, "answer_confidence": "yes"}
                for number, said in enumerate(row.answers, start=1)
            ],
        }
        for row in drawn
    ]
    return {**_header(split), "annotations": answered}


def _write_picture(target: Path, picture: Image.Image) -> None:
    """Whole or not at all, but not fsynced: hundreds would take seconds, and a lost picture is drawn anew."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as file:
        picture.save(file, "JPEG", quality=JPEG_QUALITY)
