"""Jobs for the UI: the two recipes of train_v3.sh, each one run for a whole cell."""

from __future__ import annotations

import dagster as dg

from icd_assets.experiment.steps import STEPS

_ALL = [*(step.name for step in STEPS), "leaderboard"]
GRPO_EPOCHS = 3  # where the user has not said how many

rce_recipe = dg.define_asset_job(
    "rce_recipe",
    selection=dg.AssetSelection.assets(*(name for name in _ALL if name != "grpo_checkpoints")),
    description="Everything up to the evaluation and the leaderboard, RCE only (GRPO_EPOCHS=0, the default).",
)

grpo_recipe = dg.define_asset_job(
    "grpo_recipe",
    selection=dg.AssetSelection.assets(*_ALL),
    description="Everything up to the evaluation and the leaderboard, RCE and then three epochs of GRPO.",
    config={"ops": {"grpo_checkpoints": {"config": {"grpo_epochs": GRPO_EPOCHS}}}},
)

JOBS = [rce_recipe, grpo_recipe]
