"""Captioning: an image without a question, several captions, CIDEr."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from icd_assets.tasks.caption.files import CaptionFiles
from icd_assets.tasks.caption.ptb_tokenizer import require_caption_tools
from icd_assets.tasks.task import CandidateText, Task

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.scoring.metric import Metric


def _metric(corpus: Iterable[VqaItem]) -> Metric:
    require_caption_tools()
    from icd_assets.tasks.caption.metric import Cider

    return Cider(item.answers for item in corpus)


CAPTION = Task(
    name="caption",
    files=CaptionFiles,
    files_named="captions and images",
    # "Caption:" asks, "Caption:a dog" shows (SPEC G.4); twenty tokens as open_flamingo gives for COCO.
    prompt={"system": None, "question": "Caption:{question}", "answer": "{answer}"},
    generation={"max_new_tokens": 20},
    metric_name="CIDEr",
    best_score=10.0,
    metric=_metric,
    require_tools=require_caption_tools,
    rl_config={"cider": {"document_frequencies": "train split"}},
    labels=frozenset({"cider"}),
    default_reward="cider",
    # A query has no text at inference: its caption would be the answer.
    similarities=("image",),
    candidate_text=CandidateText(name="captions", of=lambda item: item.answer),
)
