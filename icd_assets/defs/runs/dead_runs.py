"""Runs that are recorded as under way although their process is gone, and the pool slots that ended runs hold.

Gap: Dagster (1.13.27) ends neither. A killed command line leaves its run "started" (#4319, #1735; run monitoring
checks workers of other launchers only) and its slot of the pool ``gpu`` taken (#28456), and the next run waits for
ever. The daemon frees slots of runs that are recorded as ended, if it runs and is set to (#32560).

A process of this machine is looked at; of one on another machine only its signs of life can be seen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import dagster as dg

from icd_assets.defs.runs.run_owner import read_owner
from icd_assets.defs.runs.run_status import WITH_A_PROCESS
from icd_assets.defs.runs.signs_of_life import SIGN_SECONDS, SILENT_SECONDS, silent, undecided
from icd_assets.runtime.process_record import ProcessRecord


@dataclass(frozen=True)
class OpenRun:
    """A run that has not ended in the records; ``gone`` is None if its process cannot be judged from here.

    ``undecided``: it is on another machine, and whether it still gives signs of life is not known yet."""

    run: dg.DagsterRun
    process: ProcessRecord | None
    gone: bool | None
    undecided: bool = False


@dataclass(frozen=True)
class HeldSlot:
    """A slot of ``pool`` that a run holds although it has ended, or was deleted."""

    pool: str
    run_id: str


def list_open_runs(
    instance: dg.DagsterInstance, *, only: str | None = None, patient: bool = False
) -> list[OpenRun]:
    """Every run that is recorded as having a process, and whether that process is gone.

    ``only``: that run alone; ``patient``: wait, for twelve seconds at most, until all signs of life are known.
    """
    chosen = dg.RunsFilter(statuses=WITH_A_PROCESS, run_ids=None if only is None else [only])
    until = time.monotonic() + SILENT_SECONDS + SIGN_SECONDS
    while True:
        found = [_judged(instance, run) for run in instance.get_runs(filters=chosen)]
        if not patient or not any(one.undecided for one in found) or time.monotonic() >= until:
            return found
        time.sleep(SIGN_SECONDS / 4)


def _judged(instance: dg.DagsterInstance, run: dg.DagsterRun) -> OpenRun:
    process = read_owner(run.tags, run.run_id)
    gone = process.gone() if process is not None else None
    if process is None or gone is not None:
        return OpenRun(run, process, gone)
    gone = silent(instance, run.run_id)
    return OpenRun(run, process, gone, undecided=gone is False and undecided(run.run_id))


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


def close_dead_runs(instance: dg.DagsterInstance, *, only: str | None = None, patient: bool = False) -> list[str]:
    """Mark runs whose process is gone as failed and free the slots of all that has ended; one sentence for each.

    What lives is not touched: neither a run whose process is there, nor one that cannot be judged from here.
    ``only`` and ``patient`` as of :func:`list_open_runs`.
    """
    closed = []
    for found in list_open_runs(instance, only=only, patient=patient):
        if found.gone and not _ended(instance, found.run.run_id):  # it may have ended well since it was listed
            here = found.process is not None and found.process.gone()
            text = f"{found.process} {'is gone' if here else 'shows no sign of life'}"
            if found.run.status is dg.DagsterRunStatus.CANCELING:
                instance.report_run_canceled(found.run, message=f"Canceled: {text}.")
            else:
                instance.report_run_failed(found.run, message=f"Marked as failed: {text}.")
            closed.append(f"run {found.run.run_id} marked as failed: {text}")
    for slot in list_held_slots(instance):
        if only is not None and slot.run_id != only:
            continue
        instance.event_log_storage.free_concurrency_slots_for_run(slot.run_id)
        closed.append(f"slot of pool {slot.pool} freed: run {slot.run_id} has ended")
    return closed


def _ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished
