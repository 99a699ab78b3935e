"""VQA accuracy in memory: the open_flamingo variant of the official script (SPEC H); answer clean-up (G.5).

Deviations from upstream:
1. Nothing is read from or written to files per answer (SPEC O.2-14); the arithmetic is the same.
2. Two annotator records that are equal in every field are still two annotators.
3. Of fewer than four annotators all others must agree, not three: by the official formula nobody could be right on
   a question of one's own data that has one answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from icd_assets.scoring.relevance import relevance

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MAX_PERIODS = 32  # upstream passes re.UNICODE, which is 32, as the count
_COUNTING = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(value) for value, word in enumerate(_COUNTING.split())} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_STOP = re.compile("Question|Answer|Short")

# SPEC H (i): the spelling without apostrophes becomes this one.
_CONTRACTIONS = """
    ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll
    how's I'm I've isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock
    oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's something'd
    something'll that's there'd there're there's they'd they'll they're they've 'twas wasn't we've weren't
    what'll what're what's what've when's where'd where's where've who'd who'll who's who've why'll why're
    why's won't would've wouldn't y'all you'd you'll you're you've
"""
# SPEC H (ii): either apostrophe may be missing.
_DOUBLE_CONTRACTIONS = """
    couldn't've hadn't've mightn't've shouldn't've wouldn't've he'd've I'd've it'd've she'd've
    someone'd've something'd've there'd've they'd've we'd've who'd've you'd've
"""
# SPEC H (iii): the table's oddities, some of them surely mistakes, kept because scores must compare.
_ODD = {
    "let's": "let's",
    "she's": "she's",
    "somebody'd": "somebodyd",
    "somebodyd've": "somebody'd've",
    "somebody'dve": "somebody'd've",
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "yall'll": "y'all'll",
    "y'allll": "y'all'll",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}


def _contraction_table() -> dict[str, str]:
    table = {target.replace("'", ""): target for target in _CONTRACTIONS.split()}
    for target in _DOUBLE_CONTRACTIONS.split():
        first, second, third = target.split("'")
        table[f"{first}{second}'{third}"] = target
        table[f"{first}'{second}{third}"] = target
    return table | _ODD


CONTRACTIONS = _contraction_table()


@lru_cache(maxsize=1 << 17)
def normalize(answer: str) -> str:
    """The form in which answers are compared.

    >>> normalize("The red-hat"), normalize("two dogs."), normalize("1,000")
    ('red hat', '2 dogs', '1000')
    """
    text = _without_punctuation(answer.replace("\n", " ").replace("\t", " ").strip())
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(text: str) -> str:
    """A mark vanishes if it touches a blank anywhere, or if any number has a comma; else it turns blank."""
    has_comma_number = _DIGIT_COMMA_DIGIT.search(text) is not None
    cleaned = text
    for mark in _PUNCTUATION:
        if mark in text:
            deleted = has_comma_number or f"{mark} " in text or f" {mark}" in text
            cleaned = cleaned.replace(mark, "" if deleted else " ")
    return _PERIOD.sub("", cleaned, count=_MAX_PERIODS)


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy in [0, 1] of one prediction against all annotators' answers.

    Each annotator is left out in turn: acc_j = min(1, #{i ≠ j : a_i = p} / 3), averaged (SPEC H). With m
    matches of n: [m·min(1, (m−1)/3) + (n−m)·min(1, m/3)] / n. Rounded like upstream's percent, to two
    decimals. Of n < 4 annotators, n − 1 take the place of the 3; of one, an answer is his or it is not.
    """
    if not answers:
        raise ValueError("a question without answers has no accuracy")
    n = len(answers)
    m = _normalized_counts(tuple(answers))[normalize(prediction)]
    if n == 1:
        return float(m)
    enough = _enough(n)
    shares = m * min(enough, m - 1) + (n - m) * min(enough, m)
    return round(100 * shares / (enough * n), 2) / 100


def _enough(annotators: int) -> int:
    """How many others must have given an answer for it to be right."""
    return max(1, min(3, annotators - 1))


@lru_cache(maxsize=1 << 16)
def _normalized_counts(answers: tuple[str, ...]) -> Counter[str]:
    return Counter(normalize(answer) for answer in answers)


def postprocess(raw: str) -> str:
    """The answer within a generation: up to ``Question``, ``Answer`` or ``Short``, then up to ``", "``.

    Neither stripped nor lower-cased (SPEC G.5).

    >>> postprocess("dog, cat")
    'dog'
    """
    return _STOP.split(raw, maxsplit=1)[0].split(", ", maxsplit=1)[0]


class VqaAccuracy:
    """The official accuracy, in [0, 1] (SPEC H)."""

    name = "accuracy"

    def clean(self, raw: str) -> str:
        return postprocess(raw)

    def normal(self, answer: str) -> str:
        return normalize(answer)

    def scores(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        return [vqa_accuracy(answer, golds) for answer, golds in zip(answers, references, strict=True)]

    def labels(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        labels = []
        scores = self.scores(answers, references)
        for answer, golds, accuracy in zip(answers, references, scores, strict=True):
            near = relevance(answer, [postprocess(gold) for gold in golds])
            labels.append(
                {
                    "vqa_correct": int(accuracy > 0),
                    "vqa_acc_score": accuracy,
                    "vqa_rel_token_f1": near.token_f1,
                    "vqa_rel_edit_sim": near.edit_similarity,
                    "vqa_rel_score": near.score,
                    "vqa_eval_mode": "vqaEval",
                }
            )
        return labels

    def gold_weights(self, golds: Sequence[str]) -> dict[str, float]:
        """A third per annotator, at most 1, as the accuracy counts them (SPEC G.6)."""
        counts, enough = Counter(postprocess(gold) for gold in golds), _enough(len(golds))
        return {answer: min(n / enough, 1.0) for answer, n in counts.items() if answer.strip()}
