"""CIDEr of captions (Vedantam et al. 2015, arXiv:1411.5726): pycocoevalcap's arithmetic, ``CiderScorer``.

Deviation from pycocoevalcap:
1. Document frequencies are those of a corpus given once, so that a caption's score does not depend on what else
   is scored with it. With the scored references as the corpus, the scores are the library's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from pycocoevalcap.cider.cider_scorer import CiderScorer, precook

from icd_assets.errors import UserError
from icd_assets.tasks.caption.ptb_tokenizer import tokenize

Ngrams = dict[tuple[str, ...], int]

_BLOCK = 20_000  # documents tokenized at once


class Cider:
    """CIDEr in [0, 10] with the document frequencies of a corpus: per document, the captions of one image.

    An evaluation takes the evaluated images as the corpus, as the field does. A reward takes the whole train
    split (as self-critical training does, Rennie et al. 2017, arXiv:1612.00563): so it depends neither on the
    anchors drawn nor on which candidates share a chunk.
    """

    name = "CIDEr"

    def __init__(self, documents: Iterable[Sequence[str]]) -> None:
        self._documents = 0
        frequency: Counter[tuple[str, ...]] = Counter()
        waiting = iter(documents)
        while block := list(islice(waiting, _BLOCK)):
            self._documents += len(block)
            for captions in _cooked(block):
                frequency.update({ngram for ngrams in captions for ngram in ngrams})
        if self._documents < 2:
            raise UserError(
                f"CIDEr weighs words by how many images they occur in, but there are {self._documents} images; "
                "take two or more."
            )
        # The library counts an unknown n-gram as seen once: those seen once need no memory.
        self._frequency = Counter({ngram: count for ngram, count in frequency.items() if count > 1})

    def clean(self, raw: str) -> str:
        """Up to where the model begins another demonstration, in one line."""
        return " ".join(raw.split("Caption:", maxsplit=1)[0].split())

    def normal(self, answer: str) -> str:
        return self.clean(answer).lower().rstrip(" .")

    def scores(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        asked = [(answer, tuple(captions)) for answer, captions in zip(answers, references, strict=True)]
        pairs = list(dict.fromkeys(asked))  # strategies and candidates often lead to the same caption
        texts = dict.fromkeys([*((answer,) for answer, _ in pairs), *(captions for _, captions in pairs)])
        cooked = dict(zip(texts, _cooked(list(texts)), strict=True))
        scorer = CiderScorer()
        scorer.document_frequency = self._frequency
        scorer.ctest = [cooked[answer,][0] for answer, _ in pairs]
        scorer.crefs = _OfCorpus(self._documents, [cooked[captions] for _, captions in pairs])
        # Rounding may leave a perfect caption a hair above ten.
        found = {pair: min(float(score), 10.0) for pair, score in zip(pairs, scorer.compute_cider(), strict=True)}
        return [found[pair] for pair in asked]

    def labels(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        return [{"cider": score} for score in self.scores(answers, references)]

    def gold_weights(self, golds: Sequence[str]) -> dict[str, float]:
        raise ValueError("captions have no label vqa_gt_prob")


class _OfCorpus(list[list[Ngrams]]):
    """The references to score; the length, which the library takes for the number of documents, is the corpus'."""

    def __init__(self, documents: int, references: list[list[Ngrams]]) -> None:
        super().__init__(references)
        self._documents = documents

    def __len__(self) -> int:
        return self._documents


def _cooked(documents: Sequence[Sequence[str]]) -> list[list[Ngrams]]:
    """The n-gram counts of every caption of every document, n from 1 to 4."""
    words = iter(tokenize([caption for captions in documents for caption in captions]))
    return [[precook(" ".join(next(words))) for _ in captions] for captions in documents]
