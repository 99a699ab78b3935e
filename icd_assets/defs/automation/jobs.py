"""Jobs for the UI: each recipe as one run for a whole cell; of Lever-Plus' chain the two of train_v3.sh."""

from __future__ import annotations

from typing import Any

import dagster as dg

from icd_assets.defs.assets.step_asset import GRPO_EPOCHS, GRPO_RECIPE
from icd_assets.experiment.recipes import STEPS_OF, Recipe
from icd_assets.experiment.steps import STEPS

_EVALUATED = "up to the evaluation and the leaderboard"


def _job(name: str, recipe: Recipe, description: str, *, without: str = "", **ops: dict[str, Any]) -> Any:
    """``ops``: settings of steps, by step."""
    steps = [step.name for step in STEPS if step.name in STEPS_OF[recipe] and step.name != without]
    config: dict[str, Any] = {"resources": {"shared": {"config": {"recipe": recipe}}}}
    if ops:
        config["ops"] = {step: {"config": settings} for step, settings in ops.items()}
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*steps, "leaderboard"),
        description=description,
        config=config,
    )


rce_recipe = _job(
    "rce_recipe",
    "beams",
    f"Lever-Plus' chain {_EVALUATED}, RCE only (GRPO_EPOCHS=0, its default).",
    without="grpo_checkpoints",
    v2format_checkpoint={"source": "rce"},
)

grpo_recipe = _job(
    GRPO_RECIPE,
    "beams",
    f"Lever-Plus' chain {_EVALUATED}, RCE and then GRPO: as many epochs as the cell was trained with, else "
    f"{GRPO_EPOCHS}.",
    v2format_checkpoint={"source": "grpo"},
)

singles_recipe = _job(
    "singles_recipe", "singles", f"A selector from labels of single demonstrations, {_EVALUATED}."
)
sequences_recipe = _job(
    "sequences_recipe", "sequences", f"A selector from labels of singles, then of sequences, {_EVALUATED}."
)
rl_recipe = _job("rl_recipe", "rl", f"The same, then rewards on queries that no selector saw, {_EVALUATED}.")

JOBS = [rce_recipe, grpo_recipe, singles_recipe, sequences_recipe, rl_recipe]
