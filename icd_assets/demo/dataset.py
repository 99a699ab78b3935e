"""Writes the demo data sets: official VQA JSON and JPEGs, the same bytes every time.

``demo`` asks for what one demonstration shows, ``demo_pairs`` the two-word questions. The world's one draw of
knowledge is fixed here (``DEMO_SEED`` in the environment gives another one); all splits share it, but no picture.
A third of the pictures carry several questions, as COCO's do. A split's questions are written before its pictures
and say which draw they are of, its annotations last: where they exist, the split is complete.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from icd_assets.demo.world import (
    LORE,
    SHAPES,
    TWO_WORD,
    Kind,
    Knowledge,
    Scene,
    Wording,
    annotate,
    render,
)
from icd_assets.errors import UserError
from icd_assets.runtime.plain_file import open_plain
from icd_assets.runtime.seeding import python_rng
from icd_assets.store.atomic import replacing, write_atomic

SEED = 7
PERCEPTION_SHARE = 0.12  # questions of ``demo`` that ask what is seen
DESCRIPTION = "icd_assets demo world"
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
    """A split's size, its own range of ids, and what it asks."""

    name: str
    subtype: str
    questions: int
    first_image: int
    kinds: tuple[Kind, ...] = LORE
    seen: float = PERCEPTION_SHARE  # share of its questions that ask what is seen instead


TRAIN = Split("train", "train", questions=640, first_image=1001)
VALIDATION = Split("validation", "val", questions=1200, first_image=501001)
PAIRS_TRAIN = Split("pairs train", "train", 640, first_image=201001, kinds=TWO_WORD, seen=0.0)
PAIRS_VALIDATION = Split("pairs validation", "val", 1200, first_image=701001, kinds=TWO_WORD, seen=0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One question with its picture and answers."""

    image_id: int
    question_id: int
    scene: Scene
    wording: Wording
    answers: tuple[str, ...]


def write(train: SplitPaths, validation: SplitPaths) -> None:
    """Writes what is missing of both splits of ``demo``; the catalog's ``prepare`` hook."""
    _write("DEMO_PATH", (TRAIN, train), (VALIDATION, validation))


def write_pairs(train: SplitPaths, validation: SplitPaths) -> None:
    """The same for ``demo_pairs``."""
    _write("DEMO_PAIRS_PATH", (PAIRS_TRAIN, train), (PAIRS_VALIDATION, validation))


def _write(setting: str, *splits: tuple[Split, SplitPaths]) -> None:
    seed = _seed()
    for split, paths in splits:
        try:
            _require_draw(seed, setting, paths)
            _write_split(split, paths, seed)
        except OSError as error:
            raise UserError(
                f"the demo data set cannot be written to {error.filename or paths.questions}: {error.strerror};"
                f" set {setting} to a folder that can be written."
            ) from error


def _seed() -> int:
    given = os.environ.get("DEMO_SEED") or str(SEED)
    if not (given.isascii() and given.isdigit()):
        raise UserError(f"DEMO_SEED is {given!r}, but a draw of the demo world is a number such as {SEED + 1}.")
    return int(given)


def _require_draw(seed: int, setting: str, paths: SplitPaths) -> None:
    """A folder holds one draw; files that do not call themselves the demo world are the user's own affair."""
    for target in (Path(paths.questions), Path(paths.annotations)):
        if target.exists():
            with open_plain(target) as file:
                head = file.read(200).decode(errors="replace")
            if DESCRIPTION in head and f'"{_description(seed)}"' not in head:
                raise UserError(
                    f"{target} is of another draw of the demo world than DEMO_SEED={seed}; set {setting} to an"
                    " empty folder for this one."
                )


def _description(seed: int) -> str:
    return DESCRIPTION if seed == SEED else f"{DESCRIPTION}, draw {seed}"


def rows(split: Split, seed: int = SEED) -> list[Row]:
    """The split's questions in the order of their ids; shapes take turns."""
    knowledge = Knowledge.draw(python_rng(seed, "demo", "knowledge"))
    rng = python_rng(seed, "demo", split.name)
    drawn: list[Row] = []
    image_id = split.first_image
    shapes = itertools.cycle(range(len(SHAPES)))
    while len(drawn) < split.questions:
        scene = Scene.draw(rng, next(shapes))
        on_picture = min(rng.choice((1, 1, 1, 1, 2, 3)), split.questions - len(drawn))
        for number, known in enumerate(rng.sample(split.kinds, on_picture)):
            kind: Kind = rng.choice(("shape", "color")) if rng.random() < split.seen else known
            said = tuple(annotate(knowledge.answer(scene, kind), kind, rng))
            drawn.append(Row(image_id, 10 * image_id + number, scene, Wording.draw(kind, rng), said))
        image_id += 1 + rng.randrange(3)  # gaps, as in COCO: no code may count on consecutive ids
    return drawn


def _write_split(split: Split, paths: SplitPaths, seed: int) -> None:
    drawn = rows(split, seed)
    header = _header(split, seed)
    _write_json(Path(paths.questions), _questions(header, drawn))
    for image_id, scene in {row.image_id: row.scene for row in drawn}.items():
        target = Path(paths.images.format(image_id=image_id))
        if not target.exists():
            _write_picture(target, render(scene, python_rng(seed, "demo", "picture", image_id)))
    _write_json(Path(paths.annotations), _annotations(header, drawn))


def _header(split: Split, seed: int) -> dict[str, Any]:
    return {
        "info": {"description": _description(seed), "version": "1.0", "year": 2025, "url": ""},
        "license": {"name": "MIT", "url": ""},
        "data_type": "demo",
        "data_subtype": split.subtype,
    }


def _write_json(target: Path, document: dict[str, Any]) -> None:
    if not target.exists():
        write_atomic(target, (json.dumps(document, indent=1) + "\n").encode())


def _questions(header: dict[str, Any], drawn: list[Row]) -> dict[str, Any]:
    """SPEC B.2; the metric's result loader requires all five header keys."""
    asked = [
        {"image_id": row.image_id, "question": row.wording.text, "question_id": row.question_id} for row in drawn
    ]
    return {**header, "task_type": "Open-Ended", "questions": asked}


def _annotations(header: dict[str, Any], drawn: list[Row]) -> dict[str, Any]:
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
    return {**header, "annotations": answered}


def _write_picture(target: Path, picture: Image.Image) -> None:
    """Whole or not at all, but not fsynced: hundreds would take seconds, and a lost picture is drawn anew."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, one_of_hundreds=True) as file:
        picture.save(file, "JPEG", quality=JPEG_QUALITY)
