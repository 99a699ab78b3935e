"""What every asset does first in its process, whichever executor started it."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from icd_assets.defs.runs.parent_watch import die_with_parent
from icd_assets.defs.runs.run_owner import record_owner
from icd_assets.defs.runs.run_watch import end_with_run
from icd_assets.errors import UserError
from icd_assets.runtime.interrupts import deliver_every_interrupt

_PLACED = "DAGSTER_RUN_STEP_KEY"  # both Ray's and Kubernetes' step handlers set it, and only they


def enter_process(context: dg.AssetExecutionContext) -> None:
    """End with the run's worker and with the run, deliver every interrupt, and record whose the run is."""
    die_with_parent()
    deliver_every_interrupt()
    record_owner(context)
    end_with_run(context.instance, context.run)


def enter_home_of_run() -> None:
    """In a step's process that an executor placed: go to Dagster's home, where relative paths are meant from.

    Raises ``UserError`` if this machine does not have it.
    """
    home = os.environ.get("DAGSTER_HOME")
    if os.environ.get(_PLACED) is None or not home or Path.cwd() == Path(home):
        return
    try:
        os.chdir(home)
    except OSError as error:
        raise UserError(
            f"DAGSTER_HOME {home} cannot be entered on {os.uname().nodename} ({error.strerror}); every machine "
            "that takes steps needs the same home, results and data: share their folders."
        ) from None
