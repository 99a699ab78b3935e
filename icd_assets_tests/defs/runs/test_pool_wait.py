"""Who waits for a slot of a pool asks again in time."""

from __future__ import annotations

import time

import dagster as dg
import pytest

from icd_assets.defs.runs.dagster_private import InstanceConcurrencyContext
from icd_assets.defs.runs.pool_wait import ask_in_time

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
