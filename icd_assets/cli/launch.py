"""Run planned steps of one cell as one Dagster run in this process, recorded in the instance."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import dagster as dg

from icd_assets.cli.ending import RunFailed, unwinding
from icd_assets.cli.screen import console
from icd_assets.cli.step_lines import StepLines
from icd_assets.defs.runs.code_location import as_of_the_ui
from icd_assets.defs.runs.dead_runs import close_dead_runs
from icd_assets.defs.runs.instance import open_instance
from icd_assets.defs.runs.known_cells import add_cells
from icd_assets.defs.runs.output import leave_output_alone
from icd_assets.defs.runs.pool_wait import wait_politely
from icd_assets.defs.runs.run_config import build_run_config
from icd_assets.defs.runs.run_end import is_interrupt, record_end, root_cause
from icd_assets.defs.runs.run_owner import owner_tags
from icd_assets.defs.runs.unrecorded import find_unrecorded, forget_marks
from icd_assets.errors import UserError
from icd_assets.experiment.plan import Plan
from icd_assets.runtime.process_record import ProcessRecord


def launch(plan: Plan) -> str | None:
    """Make what is planned, in one run; returns its id, or None if Dagster knows of all that is there.

    Raises :class:`UserError` with an asset's own sentence if it failed for the user's mistake, and
    :class:`RunFailed` otherwise; an interrupt ends the process. What was complete before stays complete.
    """
    from icd_assets.definitions import defs

    experiment = plan.experiment
    job = defs.resolve_implicit_global_asset_job_def()
    run_id = str(uuid4())  # chosen here, for the tags name it
    with unwinding(), open_instance() as opened:
        leave_output_alone(opened)
        add_cells(opened, [experiment.cell.key])
        for sentence in close_dead_runs(opened, patient=True):  # a killed run's slot would be waited for
            console.print(sentence)
        missed = find_unrecorded(opened, plan)
        names = [item.step.name for item in plan.steps if item.reason is not None or item.step.name in missed]
        if names:
            selected = [*names, "leaderboard"] if "evaluation" in names else names
            recorded = as_of_the_ui(opened, Path.cwd(), job.name)  # at home, where the instance is
            with recorded, StepLines(len(names)), record_end(opened, run_id), wait_politely(opened, run_id):
                result = job.execute_in_process(
                    run_id=run_id,
                    instance=opened,
                    partition_key=experiment.cell.key,
                    asset_selection=[dg.AssetKey(name) for name in selected],
                    # The run's log goes to the instance, where the UI shows it; the terminal shows progress.
                    run_config=build_run_config(experiment.settings, experiment.store.root, names, plan.force)
                    | {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    tags=owner_tags(ProcessRecord.of(os.getpid()), run_id),
                    raise_on_error=False,
                )
            if not result.success:
                raise problem(result.all_events, run_id)
        forget_marks(opened, plan)
    return run_id if names else None


def problem(events: Iterable[dg.DagsterEvent], run_id: str) -> BaseException:
    """What a run that did not end well is reported as."""
    for event in events:
        if is_interrupt(event):
            return KeyboardInterrupt()
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed and evaluation.description:
                return UserError(evaluation.description)
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                return UserError(failure.user_failure_data.description)
            cause = root_cause(failure.error)
            text = cause.message.strip() if cause is not None else "no reason was recorded"
            return RunFailed(f"{event.step_key} failed: {text} (run {run_id}; its log is in the UI)")
    return RunFailed(f"run {run_id} failed; its log is in the UI")
