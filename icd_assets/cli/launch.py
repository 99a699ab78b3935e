"""Run planned steps of one cell as one Dagster run in this process, recorded in the instance."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from sqlalchemy.exc import SQLAlchemyError

from icd_assets.cli.screen import Screen, console
from icd_assets.defs.runs.dead_runs import close_dead_runs
from icd_assets.defs.runs.instance import instance
from icd_assets.defs.runs.pool_wait import waiting_for_pool
from icd_assets.defs.runs.run_config import run_config
from icd_assets.defs.runs.unrecorded import forget_marks, unrecorded
from icd_assets.errors import UserError
from icd_assets.experiment.plan import Plan
from icd_assets.runtime.process_record import ProcessRecord


class RunFailed(Exception):
    """The run failed for a reason that is not the user's mistake."""

    exit_code = 1


def launch(plan: Plan) -> str | None:
    """Make what is planned, in one run; returns its id, or None if Dagster knows of all that is there.

    Raises :class:`UserError` with an asset's own sentence if it failed for the user's mistake, and
    :class:`RunFailed` otherwise; a run that was asked to end raises KeyboardInterrupt. What was complete before
    stays complete.
    """
    from icd_assets.definitions import defs

    experiment = plan.experiment
    job = defs.resolve_implicit_global_asset_job_def()
    run_id = str(uuid4())  # chosen here, for the tags name it
    with instance() as home:
        for sentence in close_dead_runs(home):  # a killed run's slot would be waited for
            console.print(sentence, markup=False)
        missed = unrecorded(home, plan)
        names = [item.step.name for item in plan.steps if item.reason is not None or item.step.name in missed]
        if names:
            selected = [*names, "leaderboard"] if "evaluation" in names else names
            with Screen(len(names)), _ending(home, run_id), waiting_for_pool(home, run_id):
                result = job.execute_in_process(
                    run_id=run_id,
                    instance=home,
                    partition_key=experiment.cell.key,
                    asset_selection=[dg.AssetKey(name) for name in selected],
                    # The run's log goes to the instance, where the UI shows it; the terminal shows progress.
                    run_config=run_config(experiment.settings, experiment.store.root, names, plan.force)
                    | {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    tags={"icd/trigger": "command line", **ProcessRecord.of(os.getpid()).tags(run_id)},
                    raise_on_error=False,
                )
            if not result.success:
                raise _problem(result)
        forget_marks(home, plan)
    return run_id if names else None


@contextmanager
def _ending(home: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """However the run is left, the records say that it ended, and its slot is free."""
    try:
        yield
    except BaseException as error:
        with suppress(SQLAlchemyError, OSError):  # a full disk; the next run finds out that this process is gone
            run = home.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                home.report_run_failed(run, message=f"The command line ended: {type(error).__name__}.")
            home.event_log_storage.free_concurrency_slots_for_run(run_id)
        if isinstance(error, KeyboardInterrupt | DagsterExecutionInterruptedError):
            raise KeyboardInterrupt from None
        raise


def _is_interrupt(failure: Any) -> bool:
    """Of a step, or of the run while no step was at work."""
    error = getattr(failure, "error", None)
    cause = error.cause if error is not None and error.cause is not None else error
    return cause is not None and "DagsterExecutionInterruptedError" in cause.message


def _problem(result: dg.ExecuteInProcessResult) -> BaseException:
    for event in result.all_events:
        if event.is_failure and _is_interrupt(event.event_specific_data):
            return KeyboardInterrupt()
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                return UserError(failure.user_failure_data.description)
            error = failure.error
            cause = error.cause if error is not None and error.cause is not None else error
            text = cause.message.strip() if cause is not None else "no reason was recorded"
            return RunFailed(f"{event.step_key} failed: {text} (run {result.run_id}; its log is in the UI)")
    return RunFailed(f"run {result.run_id} failed; its log is in the UI")
