"""What every asset does first in its process, whichever executor started it."""

from __future__ import annotations

import multiprocessing
import os

import dagster as dg

from icd_assets.runtime.die_with_parent import die_with_parent
from icd_assets.runtime.interrupts import deliver_every_interrupt
from icd_assets.runtime.process_record import ProcessRecord


def enter_process(context: dg.AssetExecutionContext) -> None:
    """End with the run's worker, deliver every interrupt, and say whose the run is."""
    die_with_parent()
    deliver_every_interrupt()
    _record_owner(context)


def _record_owner(context: dg.AssetExecutionContext) -> None:
    """Tag the run with the process that executes it, unless whoever launched it did: a run whose process died is
    then known for dead.

    The daemon's run workers and ``dagster asset materialize`` say their number in an event, but not which machine
    counts so. A step that is that process or its child knows; one that an executor put elsewhere does not.
    """
    run = context.run
    if ProcessRecord.from_tags(run.tags, run.run_id) is not None:
        return
    parent = multiprocessing.parent_process()
    here = {os.getpid()} | ({parent.pid} if parent is not None else set())
    for entry in context.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None and int(str(pid.value)) in here:
            context.instance.add_run_tags(run.run_id, ProcessRecord.of(int(str(pid.value))).tags(run.run_id))
            return
