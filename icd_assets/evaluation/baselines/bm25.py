"""BM25 on the question: candidates whose questions share rare words with the query's.

Robertson and Zaragoza, *The Probabilistic Relevance Framework* (2009), equation 3.15, with k1 = 1.5 and b = 0.75.
Document frequencies and the mean length are those of the whole library, so a word weighs the same in every pool.
The inverse document frequency is log(1 + (N − n + ½) / (n + ½)), which is never below 0 (Lucene's).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

import numpy as np

from icd_assets.datasets.vqa import questions_of
from icd_assets.evaluation.baselines.asked import Asked, Vectors, best_last
from icd_assets.evaluation.selections import Selection

K1, B = 1.5, 0.75

# Chinese and Japanese put no spaces between words: there each character counts as one.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


def bm25(asked: Asked) -> Selection | None:
    """None where no query has a word: captions have no question."""
    if not any(words(query.question) for query in asked.queries):
        return None
    corpus = Corpus(questions_of(asked.library))
    pointers = {}
    for query in asked.queries:
        own = [asked.library[row].question for row in asked.pools[query.row]]
        pointers[query.row] = best_last(corpus.scores(query.question, own), asked.shots)
    return Selection("BM25", asked.shots, pointers)


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


class Corpus:
    """In how many texts each word occurs, and how long texts are."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._having: Counter[str] = Counter()
        self._count, length = 0, 0
        for text in texts:
            found = words(text)
            self._having.update(set(found))
            self._count, length = self._count + 1, length + len(found)
        self._mean = max(length, 1) / max(self._count, 1)

    def scores(self, query: str, texts: Iterable[str]) -> Vectors:
        """[n], one for each text; 0 where it shares no word with ``query``. A word asked twice counts twice."""
        asked = Counter(words(query))
        return np.array([self._score(asked, Counter(words(text))) for text in texts])

    def _score(self, asked: Counter[str], text: Counter[str]) -> float:
        length = K1 * (1 - B + B * text.total() / self._mean)
        return math.fsum(
            times * self._weight(word) * text[word] * (K1 + 1) / (text[word] + length)
            for word, times in asked.items()
            if word in text
        )

    def _weight(self, word: str) -> float:
        having = self._having[word]
        return math.log(1 + (self._count - having + 0.5) / (having + 0.5))
