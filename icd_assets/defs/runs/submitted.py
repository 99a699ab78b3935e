"""A run of planned steps that is handed to Dagster's queue: its daemon starts it, where dagster.yaml says."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg

from icd_assets.defs.runs.code_location import MODULE, job_origin, label
from icd_assets.defs.runs.dagster_private import (
    JobPythonOrigin,
    ModuleCodePointer,
    QueuedRunCoordinator,
    RepositoryPythonOrigin,
)
from icd_assets.defs.runs.run_config import build_run_config
from icd_assets.errors import UserError
from icd_assets.experiment.plan import Plan

_DAEMON = "QUEUED_RUN_COORDINATOR"
_DAEMON_SECONDS = 60.0  # it signs in every 30


def submit(opened: dg.DagsterInstance, home: Path, job: dg.JobDefinition, plan: Plan, names: list[str]) -> str:
    """Put a run of the steps ``names`` into the queue; returns its id. Raises ``UserError``."""
    if not isinstance(opened.run_coordinator, QueuedRunCoordinator):
        raise UserError(
            f"{home / 'dagster.yaml'} names a run_coordinator without queue; remove it, or train without --launch."
        )
    origin = job_origin(home, job.name)
    if origin is None:
        raise UserError(
            f"{home / 'workspace.yaml'} names no code location of this project; write it anew by icd-assets init."
        )
    experiment = plan.experiment
    selected = [*names, "leaderboard"] if "evaluation" in names else names
    pointer = ModuleCodePointer(MODULE, "defs", str(home))
    code = RepositoryPythonOrigin(sys.executable, pointer, None, ["dagster"], None)
    domain: Any = opened.run_domain  # not the instance's own method: it names this process as the run's
    run: dg.DagsterRun = domain.create_run_for_job(
        job_def=job,
        asset_selection={dg.AssetKey(name) for name in selected},
        run_config=build_run_config(experiment.settings, experiment.store.root, names, plan.force),
        tags={"dagster/partition": experiment.cell.key, **label(origin)},
        status=dg.DagsterRunStatus.NOT_STARTED,
        remote_job_origin=origin,
        job_code_origin=JobPythonOrigin(job.name, code),
    )
    nowhere: Any = None  # a queue does not ask where the code is; its daemon does
    opened.submit_run(run.run_id, nowhere)
    return run.run_id


def daemon_at_work(opened: dg.DagsterInstance) -> bool:
    """Whether somebody takes runs out of the queue; by this machine's clock."""
    beat = opened.get_daemon_heartbeats().get(_DAEMON)
    return beat is not None and time.time() - beat.timestamp < _DAEMON_SECONDS
