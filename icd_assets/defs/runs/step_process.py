"""What every asset does first in its process, whichever executor started it."""

from __future__ import annotations

import dagster as dg

from icd_assets.defs.runs.parent_watch import die_with_parent
from icd_assets.defs.runs.run_owner import record_owner
from icd_assets.runtime.interrupts import deliver_every_interrupt


def enter_process(context: dg.AssetExecutionContext) -> None:
    """End with the run's worker, deliver every interrupt, and record whose the run is."""
    die_with_parent()
    deliver_every_interrupt()
    record_owner(context)
