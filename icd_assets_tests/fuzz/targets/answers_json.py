"""Others' answers as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd_assets.report.answers_file import read_answers
from icd_assets.report.sides import by_id

SUFFIX = ".json"


def seeds() -> Iterable[bytes]:
    yield b'[{"question_id": 1, "answer": "a", "score": 0.5, "strategy": "x", "shots": 2, "image_id": 4}]'
    yield b'[{"question_id": "q", "score": "1e-3", "raw": "r"}, {"question_id": 2, "answer": "b"}]'


def read(path: Path) -> object:
    return by_id(read_answers(path), path)
