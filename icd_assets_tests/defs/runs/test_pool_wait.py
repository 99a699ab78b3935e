"""Who waits for a slot of a pool asks again in time, and not for what a killed run has."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import dagster as dg
import pytest

from icd_assets.defs.runs.dagster_private import InstanceConcurrencyContext
from icd_assets.defs.runs.pool_wait import ask_in_time
from icd_assets.defs.runs.run_owner import owner_tags
from icd_assets.runtime.process_record import ProcessRecord

DAY = 86_400.0


def test_a_clock_that_was_set_back_lets_nobody_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ask_in_time()
    ask_in_time()  # as often as it is imported
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    with dg.DagsterInstance.local_temp() as instance:
        run = instance.add_run(dg.DagsterRun(job_name="job"))
        storage = instance.event_log_storage
        storage.set_concurrency_slots("gpu", 1)
        storage.claim_concurrency_slot("gpu", "another", "step")
        with InstanceConcurrencyContext(instance, run) as context:
            assert not context.claim("gpu", "step")
            storage.free_concurrency_slots_for_run("another")
            now -= DAY
            assert not context.claim("gpu", "step")
            now += 16
            assert context.claim("gpu", "step")


def test_the_slot_of_a_killed_run_is_freed_by_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever executor waits, so that a run of the UI's needs no command that sweeps."""
    ask_in_time()
    real, moment, clock = time.monotonic, time.time(), 0.0
    monkeypatch.setattr(time, "time", lambda: moment)
    monkeypatch.setattr(time, "monotonic", lambda: real() + clock)
    with dg.DagsterInstance.local_temp() as instance:
        me = ProcessRecord.of(os.getpid())
        dead = dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED)
        dead = instance.add_run(dead.with_tags(owner_tags(replace(me, born=f"{me.born}0"), dead.run_id)))
        run = instance.add_run(dg.DagsterRun(job_name="job"))
        instance.event_log_storage.set_concurrency_slots("gpu", 1)
        instance.event_log_storage.claim_concurrency_slot("gpu", dead.run_id, "step")
        with InstanceConcurrencyContext(instance, run) as context:
            assert not context.claim("gpu", "step")
            for clock in (10.0, 20.0):  # noqa: B007
                moment += 16
                claimed = context.claim("gpu", "step")
            assert claimed
        found = instance.get_run_by_id(dead.run_id)
        assert found is not None and found.is_failure
