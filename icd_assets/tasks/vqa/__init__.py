"""Visual question answering: open questions, ten annotators, VQA accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from icd_assets.tasks.task import Task
from icd_assets.tasks.vqa.files import VqaFiles

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.scoring.metric import Metric


def _metric(corpus: Iterable[VqaItem]) -> Metric:
    from icd_assets.tasks.vqa.metric import VqaAccuracy

    return VqaAccuracy()


VQA = Task(
    name="vqa",
    files=VqaFiles,
    files_named="questions, annotations and images",
    prompt={},
    generation={},
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
