"""A run that waits for a slot of the pool of GPUs sleeps, ends at Ctrl-C, notes whom it waits for, and does not
wait for the dead.

Gap: Dagster's in-process executor (1.13.27) does not sleep while it waits, since the method replaced here never
returns more than 0 (#20367, closed unmerged): it takes a core from the run that it waits for. It does not look for
an interrupt either, as the multiprocess executor does, and only its log shows that it waits (#16441). And each
executor keeps the time of its next question by the wall clock: set back by an hour, it would not ask for an hour.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

import dagster as dg

from icd_assets.defs.runs.dagster_private import (
    DagsterExecutionInterruptedError,
    InstanceConcurrencyContext,
    pop_captured_interrupt,
)
from icd_assets.defs.runs.dead_runs import close_dead_runs
from icd_assets.defs.runs.run_owner import read_owner
from icd_assets.runtime import progress

GPU_POOL = "gpu"
_POLL_EVERY_SECONDS = 0.5
_NOTE_AFTER_SECONDS = 2.0
_CLOSE_EVERY_SECONDS = 5.0
_ASK_EVERY_SECONDS = 15.0  # for the slot, at the latest; so does Dagster


@contextmanager
def wait_politely(opened: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """While entered, a run that waits for a slot sleeps, can be interrupted, and notes once whom it waits for."""
    since: dict[str, float] = {}

    def seconds_to_sleep(self: InstanceConcurrencyContext) -> float:
        if pop_captured_interrupt():
            raise DagsterExecutionInterruptedError
        now = time.monotonic()
        for step in self.pending_claim_steps():
            if now - since.setdefault(step, now) >= _NOTE_AFTER_SECONDS and (found := holders(opened, run_id)):
                since[step] = float("inf")
                progress.current.noted(step, f"waiting: the pool {GPU_POOL} is in use by {'; '.join(found)}")
        return _POLL_EVERY_SECONDS

    original = InstanceConcurrencyContext.interval_to_next_pending_claim_check
    InstanceConcurrencyContext.interval_to_next_pending_claim_check = seconds_to_sleep  # type: ignore[method-assign]
    try:
        yield
    finally:
        InstanceConcurrencyContext.interval_to_next_pending_claim_check = original  # type: ignore[method-assign]


@cache  # once per process
def ask_in_time() -> None:
    """Have each run that waits, of the UI's too, ask for its slot after fifteen seconds at the latest, whatever
    became of the clock; and free the slots of those who are killed meanwhile, which nobody else does."""
    claim: Any = InstanceConcurrencyContext.claim
    checked = -math.inf

    def claim_in_time(self: InstanceConcurrencyContext, *given: Any, **named: Any) -> bool:
        nonlocal checked
        if self.has_pending_claims() and time.monotonic() - checked >= _CLOSE_EVERY_SECONDS:
            checked = time.monotonic()
            close_dead_runs(self._instance)
        latest = time.time() + _ASK_EVERY_SECONDS
        for step, at in self._pending_timeouts.items():
            self._pending_timeouts[step] = min(at, latest)
        claimed: bool = claim(self, *given, **named)
        return claimed

    InstanceConcurrencyContext.claim = claim_in_time  # type: ignore[method-assign]


def holders(opened: dg.DagsterInstance, but: str = "") -> list[str]:
    """Who has a slot of the pool, in words; ``but`` is a run that is left out."""
    slots = opened.event_log_storage.get_concurrency_info(GPU_POOL).claimed_slots
    return [_who(opened, slot.run_id, slot.step_key) for slot in slots if slot.run_id != but]


def _who(opened: dg.DagsterInstance, run_id: str, step: str) -> str:
    record = opened.get_run_record_by_id(run_id)
    if record is None:
        return f"{step} (run {run_id[:8]}, which was deleted)"
    tags = record.dagster_run.tags
    owner = read_owner(tags, run_id)
    process = f"process {owner.pid}, " if owner is not None else ""
    since = f", since {datetime.fromtimestamp(record.start_time):%H:%M:%S}" if record.start_time else ""
    return f"{step} of {tags.get('dagster/partition', 'another cell')} ({process}run {run_id[:8]}{since})"
