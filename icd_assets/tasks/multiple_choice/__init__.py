"""Multiple choice: a question with lettered options, one of which is right.

1. The options are part of the question, one a line: a prompt shows them for the query and for every
   demonstration, and the selector and the samplers compare questions with them. Both sides know them at
   inference, so none of this shows an answer.
2. A demonstration answers with the option's text, not its letter: a letter that is copied would be right by
   chance, and a likelihood of it would say nothing of the option.
3. An answer may be the text or the letter: see :mod:`icd_assets.tasks.multiple_choice.metric`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from icd_assets.tasks.multiple_choice.files import ChoiceFiles
from icd_assets.tasks.task import Task

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.scoring.metric import Metric


def _metric(corpus: Iterable[VqaItem]) -> Metric:
    from icd_assets.tasks.multiple_choice.metric import ChoiceAccuracy

    return ChoiceAccuracy()


MULTIPLE_CHOICE = Task(
    name="multiple_choice",
    files=ChoiceFiles,
    files_named="questions and images",
    # An option is longer than a word, so more tokens than the five of open questions.
    prompt={"question": "Question:{question}\nAnswer:", "answer": "{answer}"},
    generation={"max_new_tokens": 12},
    metric_name="accuracy",
    best_score=1.0,
    metric=_metric,
    require_tools=lambda: None,
    rl_config={},
    labels=frozenset({"vqa_correct", "vqa_acc_score", "vqa_gt_prob", "vqa_rel_score"}),
    default_reward="hard_plus_soft",
    similarities=("image", "text", "image+text"),
    candidate_text=None,
)
