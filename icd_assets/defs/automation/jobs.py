"""Jobs for the UI: the two recipes of train_v3.sh, each one run for a whole cell."""

from __future__ import annotations

import dagster as dg

from icd_assets.defs.assets.step_asset import GRPO_EPOCHS, GRPO_RECIPE
from icd_assets.experiment.steps import STEPS

_ALL = [*(step.name for step in STEPS), "leaderboard"]

rce_recipe = dg.define_asset_job(
    "rce_recipe",
    selection=dg.AssetSelection.assets(*(name for name in _ALL if name != "grpo_checkpoints")),
    description="Everything up to the evaluation and the leaderboard, RCE only (GRPO_EPOCHS=0, the default).",
    config={"ops": {"v2format_checkpoint": {"config": {"source": "rce"}}}},
)

grpo_recipe = dg.define_asset_job(
    GRPO_RECIPE,
    selection=dg.AssetSelection.assets(*_ALL),
    description="Everything up to the evaluation and the leaderboard, RCE and then GRPO: as many epochs as the "
    f"cell was trained with, else {GRPO_EPOCHS}.",
    config={"ops": {"v2format_checkpoint": {"config": {"source": "grpo"}}}},
)

JOBS = [rce_recipe, grpo_recipe]
