"""A split in the official form, joined: questions within annotations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd_assets.datasets.vqa import VqaSplit, read_split

SUFFIX = ".json"


def seeds() -> Iterable[bytes]:
    yield (
        b'{"annotations": [{"question_id": 1, "image_id": 7, "question": "What?", "question_type": "what", '
        b'"answer_type": "other", "multiple_choice_answer": "a cat", "answers": [{"answer": "a cat"}, {"answer": '
        b'"\\u00e9"}]}, {"question_id": 2, "image_id": 8, "question": "Who?", "answers": [{"answer": "he"}]}]}'
    )
    yield b'{"annotations": [{"question_id": "q", "image_id": "a/b.png", "question": "", "answers": ["x"]}]}'


def read(path: Path) -> VqaSplit:
    split = read_split("any", "train", None, path, f"{path.parent}/{{image_id}}")
    assert all(item.image.name for item in split)
    return split
