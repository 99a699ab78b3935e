"""A step that an executor placed in another process, or on another machine, ends when its run has ended.

Gap: Dagster (1.13.27) ends such a step through the run's worker alone. Is that one killed, or the run marked as
ended by somebody else, the step works on, holds its GPU, and writes into a run that has ended.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import dagster as dg

from icd_assets.defs.runs.dead_runs import close_dead_runs
from icd_assets.defs.runs.run_owner import read_owner
from icd_assets.defs.runs.signs_of_life import watch_anew
from icd_assets.runtime.process_record import ProcessRecord

LOOK_SECONDS = 2.0
_GRACE_SECONDS = 3.0

_watched: set[str] = set()


def end_with_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Watch a run from a step's process, unless that is the run's own; once it has ended, or its worker is gone,
    end this process: as a cancellation does, and after three seconds as a kill."""
    mine = read_owner(run.tags, run.run_id) == ProcessRecord.of(os.getpid())
    if mine or instance.is_ephemeral or run.run_id in _watched:
        return
    _watched.add(run.run_id)

    def watch() -> None:
        while not _over(instance, run.run_id):
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        os._exit(1)  # what is complete is complete

    threading.Thread(target=watch, name="run watch", daemon=True).start()


def _over(instance: dg.DagsterInstance, run_id: str) -> bool:
    try:
        close_dead_runs(instance, only=run_id)
        run = instance.get_run_by_id(run_id)
    except Exception:  # noqa: BLE001 - records that are locked or away say nothing
        watch_anew(run_id)
        return False
    return run is None or run.is_finished
