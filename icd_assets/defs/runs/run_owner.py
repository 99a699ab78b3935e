"""Which process executes a run, kept as tags of the run: only so can a dead run be known for dead.

Gap: Dagster (1.13.27) does not check that a run's process lives (#4319, #1735). Its run workers, and ``dagster
asset materialize``, write their process number into an event of the run, but not which machine gave it out, nor
when the process began; a number alone is given out again.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping

import dagster as dg

from icd_assets.runtime.process_record import ProcessRecord

_HIDDEN = (
    ".dagster/icd_"  # the UI hides tags that begin with ".dagster/", and shows all others in its list of runs
)
_SHOWN = "icd/"  # in runs that were recorded before these tags were hidden


def owner_tags(process: ProcessRecord, run_id: str) -> dict[str, str]:
    """The process as tags of the run that it executes. A re-execution copies its parent's tags, so they name the
    run they are about."""
    return {
        f"{_HIDDEN}host": process.host,
        f"{_HIDDEN}pid": str(process.pid),
        f"{_HIDDEN}born": process.born,
        f"{_HIDDEN}process_of": run_id,
    }


def read_owner(tags: Mapping[str, str], run_id: str) -> ProcessRecord | None:
    """The process in a run's tags, None if there is none or it is another run's."""
    for prefix in (_HIDDEN, _SHOWN):
        if tags.get(f"{prefix}process_of") == run_id and (pid := tags.get(f"{prefix}pid", "")).isdecimal():
            return ProcessRecord(tags.get(f"{prefix}host", ""), int(pid), tags.get(f"{prefix}born", ""))
    return None


def record_owner(context: dg.AssetExecutionContext) -> None:
    """Tag the run with the process that executes it, unless whoever launched it did.

    A step that is the process of the run's event, or its child, knows the machine; one that an executor put
    elsewhere does not, and tags nothing.
    """
    run = context.run
    if read_owner(run.tags, run.run_id) is not None:
        return
    parent = multiprocessing.parent_process()
    here = {os.getpid()} | ({parent.pid} if parent is not None else set())
    for entry in context.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        number = event.engine_event_data.metadata.get("pid") if event is not None else None
        if number is not None and (pid := int(str(number.value))) in here:
            context.instance.add_run_tags(run.run_id, owner_tags(ProcessRecord.of(pid), run.run_id))
            return
