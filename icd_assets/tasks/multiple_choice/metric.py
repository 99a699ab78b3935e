"""Whether a model chose the right option.

An answer ends at a new line or where the model begins another question. It is right if it is

1. the right option's text, whatever its case, white space and final period, or
2. the right option's letter, alone or before anything: ``b``, ``B.``, ``(B)``, ``B) a cat``. What follows a letter
   does not count: the letter decides. Where letters are ambiguous (an option whose text is another's letter), none
   is accepted, and what follows one decides.

Nothing else is: no option is guessed from an explanation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from icd_assets.scoring.relevance import relevance

_ANSWER = re.compile(r"^\s*answer:", re.IGNORECASE)
_NEXT = re.compile(r"\n|Question:")
_LETTERED = re.compile(r"\(?([a-z])(?:\)|[.:])+(?:\s+(?P<rest>.*))?")


def plain(answer: str) -> str:
    """The form in which two answers count as the same: no case, single blanks, no final period."""
    return " ".join(answer.lower().split()).rstrip(" .")


def is_right(answer: str, golds: Sequence[str]) -> bool:
    """``golds``: the right option's text, then the letters that mean it.

    >>> is_right("B) a dog", ("cat", "B")), is_right("a dog", ("cat", "B")), is_right("Cat.", ("cat", "B"))
    (True, False, True)
    """
    text, *letters = (plain(gold) for gold in golds)
    given = plain(answer)
    if given == text or given in letters:
        return True
    if (found := _LETTERED.fullmatch(given)) is None:
        return False
    return found[1] in letters if letters else plain(found["rest"] or "") == text


class ChoiceAccuracy:
    """The share of right choices: 1 or 0 per answer."""

    name = "accuracy"

    def clean(self, raw: str) -> str:
        return _NEXT.split(_ANSWER.sub("", raw).strip(), maxsplit=1)[0].strip()

    def normal(self, answer: str) -> str:
        return plain(answer)

    def scores(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        return [float(is_right(answer, golds)) for answer, golds in zip(answers, references, strict=True)]

    def labels(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """VQA's labels; relevance is to the right option's text."""
        labels = []
        for answer, golds, score in zip(answers, references, self.scores(answers, references), strict=True):
            near = relevance(answer, golds[:1])
            labels.append(
                {
                    "vqa_correct": int(score),
                    "vqa_acc_score": score,
                    "vqa_rel_token_f1": near.token_f1,
                    "vqa_rel_edit_sim": near.edit_similarity,
                    "vqa_rel_score": near.score,
                    "vqa_eval_mode": "vqaEval",  # the file's word for "judged by the metric"
                }
            )
        return labels

    def gold_weights(self, golds: Sequence[str]) -> dict[str, float]:
        """Demonstrations answer with the text, so its likelihood is the one that they raise."""
        return {golds[0]: 1.0}
