"""How near a wrong answer came: token overlap and edit similarity with the gold answers (SPEC G.6)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

_TOKEN = re.compile("[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Relevance:
    """Best values over the gold answers, each in [0, 1]; ``score`` is the greater of the two."""

    token_f1: float
    edit_similarity: float

    @property
    def score(self) -> float:
        return max(self.token_f1, self.edit_similarity)


def token_f1(prediction: str, gold: str) -> float:
    """F1 of the two multisets of ``[a-z0-9]+`` tokens, lower-cased."""
    predicted = Counter(_TOKEN.findall(prediction.lower()))
    expected = Counter(_TOKEN.findall(gold.lower()))
    common = (predicted & expected).total()
    return 2 * common / (predicted.total() + expected.total()) if common else 0.0


def edit_similarity(prediction: str, gold: str) -> float:
    """``difflib`` ratio of the two strings, lower-cased and stripped."""
    return SequenceMatcher(None, prediction.lower().strip(), gold.lower().strip()).ratio()


def relevance(prediction: str, golds: Sequence[str]) -> Relevance:
    """The best of both measures over ``golds``; zero for an empty prediction."""
    return _relevance(prediction, tuple(dict.fromkeys(golds)))


@lru_cache(maxsize=1 << 16)
def _relevance(prediction: str, golds: tuple[str, ...]) -> Relevance:
    if not prediction.strip() or not golds:
        return Relevance(0.0, 0.0)
    return Relevance(
        max(token_f1(prediction, gold) for gold in golds),
        max(edit_similarity(prediction, gold) for gold in golds),
    )
