"""Everything Dagster loads: assets, checks, jobs, schedules, sensors, resources.

Nothing reachable from here imports torch, transformers or numpy at module level: every Dagster process
imports this module again, and waits for what it imports.
"""

from __future__ import annotations

import dagster as dg

from icd_assets.defs.assets import ASSETS, RewardResource, SharedResource
from icd_assets.defs.automation import CHECKS, JOBS, SCHEDULES, SENSORS
from icd_assets.defs.executors import executor
from icd_assets.defs.runs.created_runs import own_runs_from_the_first
from icd_assets.defs.runs.pool_wait import ask_in_time

own_runs_from_the_first()
ask_in_time()
defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources={"shared": SharedResource(), "reward": RewardResource()},
    executor=executor(),
)
