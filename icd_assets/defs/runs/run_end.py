"""However the command line leaves its run, the records show that it ended, and its pool slot is free.

Gap: Dagster (1.13.27) leaves a run that an interrupt or an error left between two steps "started", and frees the
slots of a run that has ended only where its daemon runs, and only if ``free_slots_after_run_end_seconds`` is set
(#28456, #32560). Within a step it turns the interrupt into a failure like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import dagster as dg

from icd_assets.defs.runs.dagster_private import DagsterExecutionInterruptedError
from icd_assets.defs.runs.postgres import storage_errors


@contextmanager
def record_end(opened: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Where the body raises, report the run as failed and free its slots; an interrupt is a KeyboardInterrupt."""
    try:
        yield
    except BaseException as error:
        # A full disk, a server away: the next run finds out that this process is gone.
        with suppress(*storage_errors(), OSError):
            run = opened.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                opened.report_run_failed(run, message=f"The command line ended: {type(error).__name__}.")
            opened.event_log_storage.free_concurrency_slots_for_run(run_id)
        if isinstance(error, KeyboardInterrupt | DagsterExecutionInterruptedError):
            raise KeyboardInterrupt from None
        raise


def is_interrupt(event: dg.DagsterEvent) -> bool:
    """Whether an event is the failure of a step, or of the run while no step was at work, by an interrupt."""
    error = getattr(event.event_specific_data, "error", None) if event.is_failure else None
    cause = root_cause(error)
    return cause is not None and DagsterExecutionInterruptedError.__name__ in cause.message


def root_cause(error: Any) -> Any:
    """What a step raised: Dagster wraps it in an error of its own."""
    return error.cause if error is not None and error.cause is not None else error
