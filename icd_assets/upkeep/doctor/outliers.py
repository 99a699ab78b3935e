"""How large the prompts of a cell are: the usual ones, and the one largest that its data can make.

An outlier is judged as what it is. A photograph of 100 megapixels among 80,000 of COCO's size stands in a prompt
now and then, once; put into every place of every prompt, it would tell that nothing fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from icd_assets.datasets.images import Size
from icd_assets.experiment.checks.look import Look

if TYPE_CHECKING:
    from icd_assets.vlm.memory import Workload

# A photograph of COCO, and a question of usual length: where the dataset cannot be asked.
_IMAGE, _QUESTION = (640, 480), "What is the person in the middle of the picture holding?"
_USUAL = 0.95

Value = TypeVar("Value")


@dataclass(frozen=True)
class Estimate:
    """Workloads of a cell: of median pictures and questions, of 95 in 100, and of one prompt with the largest
    picture and the longest question in one of its places and usual ones in the others, asked alone."""

    median: Workload
    usual: Workload
    worst: Workload
    largest: Size
    longest: int  # characters

    @property
    def has_outlier(self) -> bool:
        return self.worst.prompt.tokens > 1.25 * self.usual.prompt.tokens


def estimate(look: Look) -> Estimate | None:
    """None if another machine has the memory. Raises ``ValueError`` for a model that cannot be estimated."""
    experiment = look.experiment
    model = experiment.model
    images = sorted((size for sizes in look.sizes.values() for size in sizes), key=math.prod) or [_IMAGE]
    questions = sorted((q for items in look.splits.values() for q in items.questions), key=len) or [_QUESTION]
    shots = max(experiment.settings.shared.shots, *experiment.config("evaluation").all_shots)

    def work(shots: int, at: float) -> Workload | None:
        return model.backend.workload(
            model.prompt, model.generation, shots=shots, question=_at(questions, at), image=_at(images, at)
        )

    median, usual, alone, largest = work(shots, 0.5), work(shots, _USUAL), work(0, _USUAL), work(0, 1.0)
    if median is None or usual is None or alone is None or largest is None:
        return None
    prompt = usual.prompt
    patches = (
        largest.prompt.patches * prompt.images
        if usual.sizes.branches
        else prompt.patches - alone.prompt.patches + largest.prompt.patches
    )
    worst = replace(prompt, tokens=prompt.tokens - alone.prompt.tokens + largest.prompt.tokens, patches=patches)
    return Estimate(
        median, usual, replace(usual, prompt=worst, batch_size=1), largest=images[-1], longest=len(questions[-1])
    )


def _at(ordered: Sequence[Value], share: float) -> Value:
    return ordered[min(len(ordered) - 1, math.ceil(share * (len(ordered) - 1)))]
