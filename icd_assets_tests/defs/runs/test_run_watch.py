"""A step in a process of its own ends when its run has ended, or when the run's worker is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from icd_assets.defs.runs.dead_runs import list_held_slots
from icd_assets.defs.runs.run_owner import owner_tags
from icd_assets.runtime.process_record import ProcessRecord
from icd_assets_tests.programs import program

pytestmark = pytest.mark.slow


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as opened:
        opened.get_asset_keys()
        opened.event_log_storage.set_concurrency_slots("gpu", 1)
        yield opened


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """The process of a run."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    yield process
    process.kill()
    process.wait()


def begun(instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]) -> dg.DagsterRun:
    run = dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED)
    run = instance.add_run(run.with_tags(owner_tags(ProcessRecord.of(worker.pid), run.run_id)))
    instance.event_log_storage.claim_concurrency_slot("gpu", run.run_id, "rl_data")
    return run


@contextmanager
def step_of(run: dg.DagsterRun, *more: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*program("placed_step"), run.run_id, *more], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        time.sleep(3)  # a look or two
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_run_that_was_ended_by_somebody(instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]) -> None:
    run = begun(instance, worker)
    with step_of(run) as step:
        instance.report_run_failed(run)
        assert step.wait(8) == -signal.SIGTERM
    assert worker.poll() is None


@pytest.mark.parametrize("more", [[], ["stubborn"]])
def test_a_worker_that_was_killed(
    more: list[str], instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
) -> None:
    run = begun(instance, worker)
    with step_of(run, *more) as step:
        worker.kill()
        worker.wait()
        assert step.wait(15) == (1 if more else -signal.SIGTERM)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None and found.is_failure
    assert list_held_slots(instance) == []
    assert instance.event_log_storage.get_concurrency_info("gpu").claimed_slots == []


def test_a_run_that_was_deleted(instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]) -> None:
    run = begun(instance, worker)
    with step_of(run) as step:
        instance.delete_run(run.run_id)
        assert step.wait(8) == -signal.SIGTERM


def test_the_runs_own_process_is_not_watched(instance: dg.DagsterInstance) -> None:
    from icd_assets.defs.runs.run_watch import _watched, end_with_run

    run = dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED)
    run = instance.add_run(run.with_tags(owner_tags(ProcessRecord.of(os.getpid()), run.run_id)))
    end_with_run(instance, run)
    assert run.run_id not in _watched
