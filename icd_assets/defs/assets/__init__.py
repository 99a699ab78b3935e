"""The assets: one per step of the table, in its order, and the leaderboard over all cells."""

from __future__ import annotations

from icd_assets.defs.assets.leaderboard import leaderboard
from icd_assets.defs.assets.partitions import partitions
from icd_assets.defs.assets.resources import RewardResource, SharedResource
from icd_assets.defs.assets.step_asset import step_asset
from icd_assets.experiment.steps import STEPS

ASSETS = [*map(step_asset, STEPS), leaderboard]

__all__ = ["ASSETS", "RewardResource", "SharedResource", "partitions"]
