"""A run is tagged with its process from its first moment on.

Gap: ``dagster asset materialize`` and ``dagster job execute`` (Dagster 1.13.27) create their run, not started, in
the process that executes it, and record that process only later: killed in between, they leave a run of which
nobody can know that it is dead. A run worker of the UI's records its start before any code of an asset runs. Both
load the assets before, and with them this module.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any
from uuid import uuid4

import dagster as dg

from icd_assets.defs.runs.run_owner import owner_tags, read_owner
from icd_assets.defs.runs.signs_of_life import end_signs, show_life
from icd_assets.runtime.process_record import ProcessRecord

_ENDS = (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)


@cache  # once per process
def own_runs_from_the_first() -> None:
    """Tag what this process creates to execute it itself, and what it begins to execute.

    A run that is created to be launched elsewhere goes another way (``create_run``), and gets no tag.
    """
    create: Any = dg.DagsterInstance.create_run_for_job
    handle: Any = dg.DagsterInstance.handle_new_event

    def create_owned(self: dg.DagsterInstance, *given: Any, **named: Any) -> dg.DagsterRun:
        if len(given) <= 1:  # all callers name the rest
            run_id = named.get("run_id") or str(uuid4())
            tags = {**(named.get("tags") or {}), **owner_tags(ProcessRecord.of(os.getpid()), run_id)}
            named |= {"run_id": run_id, "tags": tags}
        run: dg.DagsterRun = create(self, *given, **named)
        return run

    def handle_owned(self: dg.DagsterInstance, event: dg.EventLogEntry, *given: Any, **named: Any) -> None:
        begun = event.dagster_event
        if begun is not None and begun.event_type is dg.DagsterEventType.RUN_START:
            run = self.get_run_by_id(event.run_id)
            if run is not None and read_owner(run.tags, run.run_id) is None:
                self.add_run_tags(run.run_id, owner_tags(ProcessRecord.of(os.getpid()), run.run_id))
            show_life(self, event.run_id)
        elif begun is not None and begun.event_type in _ENDS:
            end_signs(event.run_id)
        handle(self, event, *given, **named)

    instance: Any = dg.DagsterInstance
    instance.create_run_for_job, instance.handle_new_event = create_owned, handle_owned
