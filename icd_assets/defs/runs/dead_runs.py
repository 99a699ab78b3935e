"""Runs that are recorded as under way although their process is gone, and the pool slots that ended runs hold.

Gap: Dagster (1.13.27) ends neither. A killed command line leaves its run "started" (#4319, #1735; run monitoring
checks workers of other launchers only) and its slot of the pool ``gpu`` taken (#28456), and the next run waits for
ever. The daemon frees slots of runs that are recorded as ended, if it runs and is set to (#32560).
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from icd_assets.defs.runs.run_owner import read_owner
from icd_assets.defs.runs.run_status import WITH_A_PROCESS
from icd_assets.runtime.process_record import ProcessRecord


@dataclass(frozen=True)
class OpenRun:
    """A run that has not ended in the records; ``gone`` is None if its process cannot be judged from here."""

    run: dg.DagsterRun
    process: ProcessRecord | None
    gone: bool | None


@dataclass(frozen=True)
class HeldSlot:
    """A slot of ``pool`` that a run holds although it has ended, or was deleted."""

    pool: str
    run_id: str


def list_open_runs(instance: dg.DagsterInstance) -> list[OpenRun]:
    """Every run that is recorded as having a process, and whether that process is gone."""
    found = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=WITH_A_PROCESS)):
        process = read_owner(run.tags, run.run_id)
        found.append(OpenRun(run, process, process.gone() if process is not None else None))
    return found


def list_held_slots(instance: dg.DagsterInstance) -> list[HeldSlot]:
    """Slots, and places in the queue for one, of runs that have ended."""
    storage = instance.event_log_storage
    held = {
        HeldSlot(pool, run_id)
        for pool, info in storage.get_concurrency_infos(sorted(storage.get_concurrency_keys())).items()
        for run_id in {*info.active_run_ids, *info.pending_run_ids, *info.assigned_run_ids}
    }
    return sorted(
        (slot for slot in held if _ended(instance, slot.run_id)), key=lambda slot: (slot.pool, slot.run_id)
    )


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process is gone as failed and free the slots of all that has ended; one sentence for each.

    What lives is not touched: neither a run whose process is there, nor one that cannot be judged from here.
    """
    closed = []
    for found in list_open_runs(instance):
        if found.gone and not _ended(instance, found.run.run_id):  # it may have ended well since it was listed
            text = f"{found.process} is gone"
            if found.run.status is dg.DagsterRunStatus.CANCELING:
                instance.report_run_canceled(found.run, message=f"Canceled: {text}.")
            else:
                instance.report_run_failed(found.run, message=f"Marked as failed: {text}.")
            closed.append(f"run {found.run.run_id} marked as failed: {text}")
    for slot in list_held_slots(instance):
        instance.event_log_storage.free_concurrency_slots_for_run(slot.run_id)
        closed.append(f"slot of pool {slot.pool} freed: run {slot.run_id} has ended")
    return closed


def _ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished
