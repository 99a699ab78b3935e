"""Which split a name means."""

from __future__ import annotations

import re
from pathlib import PurePath

_WORDS = {
    "train": ("train", "training", "trn", "trainset"),
    "validation": ("val", "valid", "validation", "dev", "eval", "minival"),
    "test": ("test", "testing", "testset"),
}
_MEANT = {word: split for split, words in _WORDS.items() for word in words}


def split_word(path: str) -> str | None:
    """``train``, ``validation`` or ``test``, by the file's name, or else the nearest folder's that says one.

    >>> split_word("data/train/questions.json"), split_word("v2_mscoco_val2014_annotations.json")
    ('train', 'validation')
    """
    for part in reversed(PurePath(path).parts):
        said = {_MEANT[word] for word in re.findall(r"[a-z]+", part.lower()) if word in _MEANT}
        if len(said) == 1:
            return said.pop()
    return None
