"""What a step of the pipeline is: the type of the entries in :mod:`icd_assets.experiment.steps`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from icd_assets.experiment.paths import CellPaths
from icd_assets.experiment.recipes import RECIPES, STEPS_OF, recipe_of
from icd_assets.runtime.device import OnRay, wanted_workers
from icd_assets.store.manifest import Input

if TYPE_CHECKING:
    from icd_assets.experiment.experiment import Experiment

# The config that matters, and the inputs by name.
Ingredients = tuple[dict[str, Any], dict[str, Input]]
Question = Callable[["Experiment"], bool]
Reason = Callable[["Experiment"], str | None]


def never(experiment: Experiment) -> bool:
    return False


def always(experiment: Experiment) -> bool:
    return True


def in_every_case(experiment: Experiment) -> str | None:
    """No reason to leave a step out."""
    return None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One asset: what it reads, what it is made from, where it lies, and when a recipe leaves it out.

    ``made_from`` may read the step's own config, the shared settings and manifests, never another step's config:
    so the command line, which knows all of them, and a click on one asset, which does not, come to the same.
    How the asset is made stands in ``icd_assets/assets/<name>.py``.
    """

    name: str
    title: str  # as a table's column
    parents: tuple[str, ...]  # the assets that it really reads
    config: type[BaseModel]
    code_version: str  # raised when the same inputs would give other bytes
    kind: Literal["json", "pytorch", "table"]  # as the UI's graph shows it
    description: str
    made_from: Callable[[Experiment], Ingredients]
    place: Callable[[CellPaths], Path]  # of its manifest
    gpu: bool = False
    catalog_fields: frozenset[str] = frozenset()  # settings that the catalog may give per dataset
    asks_vlm: Question = never
    scores_answers: Question = never  # asks for likelihoods of answers that the VLM would not give itself
    replaces_adopted: Question = never  # the settings name another file than the one that was adopted
    unneeded: Reason = in_every_case  # why a cell whose recipe has the step still has no use for it
    on_request: bool = False  # made although left out, where the user names it

    def left_out(self, experiment: Experiment) -> str | None:
        """Why a run of the cell does not make it; None if it does."""
        recipe = recipe_of(experiment)
        if self.name in STEPS_OF[recipe]:
            return self.unneeded(experiment)
        having = [one for one in RECIPES if self.name in STEPS_OF[one]]
        return f"the recipe {recipe} has no {self.name}; --recipe {' or '.join(having)} has"

    def needs_gpu(self, experiment: Experiment) -> bool:
        """Whether making it keeps a GPU of this machine busy. Where a server or a Ray cluster answers, what is
        left to do here is small (a selector, one pass of CLIP): held for hours, a GPU would idle, or be theirs."""
        elsewhere = not experiment.model.backend.loads_weights or isinstance(wanted_workers(), OnRay)
        return self.gpu and not (elsewhere and self.asks_vlm(experiment))
