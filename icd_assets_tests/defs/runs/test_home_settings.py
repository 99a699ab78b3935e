"""What the home's dagster.yaml sets: who ends a run that never began, and which runs are tried again."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import should_retry
from dagster._daemon.monitoring.run_monitoring import monitor_starting_run

from icd_assets.defs.runs.dead_runs import close_dead_runs
from icd_assets.defs.runs.run_owner import owner_tags
from icd_assets.runtime import home
from icd_assets.runtime.process_record import ProcessRecord

STARTED = dg.DagsterRunStatus.STARTED
AGAIN = {"dagster/max_retries": "1"}


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    shutil.copy(Path(home.__file__).parent / "home_files/dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as opened:
        yield opened


def test_monitoring_is_on_and_slots_of_ended_runs_are_freed(instance: dg.DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 10
    assert instance.run_retries_enabled and instance.run_retries_max_retries == 0


def test_a_run_that_its_worker_never_begins_is_ended(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = instance.add_run(dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.NOT_STARTED))
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    monitor_starting_run(instance, record, logging.getLogger())
    assert not _again(instance, run).is_failure
    late = time.time() + instance.run_monitoring_start_timeout_seconds + 1
    monkeypatch.setattr("dagster._daemon.monitoring.run_monitoring.get_current_timestamp", lambda: late)
    monitor_starting_run(instance, record, logging.getLogger())
    assert _again(instance, run).is_failure


@pytest.mark.parametrize(("tags", "again"), [({}, False), (AGAIN, True)])
def test_a_run_whose_worker_died_is_tried_again_where_it_says_so(
    instance: dg.DagsterInstance, tags: dict[str, str], again: bool
) -> None:
    run = dg.DagsterRun(job_name="job", status=STARTED, tags=tags)
    dead = ProcessRecord(ProcessRecord.of(1).host, 2**22 + 7, "")
    run = instance.add_run(run.with_tags({**tags, **owner_tags(dead, run.run_id)}))
    assert len(close_dead_runs(instance)) == 1
    assert should_retry(_again(instance, run), instance) is again


def test_a_run_whose_step_failed_is_not(instance: dg.DagsterInstance) -> None:
    run = instance.add_run(dg.DagsterRun(job_name="job", status=STARTED, tags=AGAIN))
    failed = JobFailureData(error=None, failure_reason=RunFailureReason.STEP_FAILURE)
    instance.report_run_failed(run, "a step failed", failed)
    assert not should_retry(_again(instance, run), instance)


def _again(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found
