"""A run that Dagster's own commands create and are killed in before it starts: known for dead, and swept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from icd_assets.defs.runs.dead_runs import close_dead_runs, list_held_slots, list_open_runs
from icd_assets.defs.runs.run_owner import read_owner
from icd_assets_tests.worlds.workplace import ROOT

# As `dagster asset materialize` does it: load the assets, create the run, execute it.
CREATE = """
import sys, time
import dagster as dg
from icd_assets.defs.runs.created_runs import own_runs_from_the_first
from icd_assets.defs.runs.dagster_private import ModuleTarget, RemoteRepositoryOrigin

@dg.op
def nothing(): ...

@dg.job
def job(): nothing()

place = next(iter(ModuleTarget("icd_assets.definitions", None, None, None).create_origins()))
origin = RemoteRepositoryOrigin(place, "__repository__").get_job_origin("job")  # a run in the queue must have one
own_runs_from_the_first()
own_runs_from_the_first()  # as often as it is imported
with dg.DagsterInstance.get() as instance:
    if sys.argv[1] == "begun":  # a run worker's: created by another process, without a tag
        run = instance.add_run(dg.DagsterRun(job_name="job", run_id="11111111-1111-4111-8111-111111111111"))
        event = dg.DagsterEvent("PIPELINE_START", "job", message="begun")
        instance.report_dagster_event(event, run.run_id)
    else:
        status = dg.DagsterRunStatus[sys.argv[1]]
        run = instance.create_run_for_job(job_def=job, status=status, remote_job_origin=origin)
    if "slot" in sys.argv:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("gpu", 1)
        storage.claim_concurrency_slot("gpu", run.run_id, "nothing")
    print(run.run_id, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        opened.get_runs(limit=1)
        opened.get_asset_keys()
        yield opened


def started(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-c", CREATE, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "CANCELING", "begun"])
def test_a_run_killed_in_its_first_seconds(status: str, instance: dg.DagsterInstance) -> None:
    process, run_id = started(status, "slot")
    try:
        assert [found.gone for found in list_open_runs(instance)] == [False]
        assert close_dead_runs(instance) == []  # it lives
    finally:
        kill(process)
    sentences = close_dead_runs(instance)
    assert sentences[0].startswith(f"run {run_id} marked as ")
    assert sentences[1:] == [f"slot of pool gpu freed: run {run_id} has ended"]
    run = instance.get_run_by_id(run_id)
    ended = dg.DagsterRunStatus.CANCELED if status == "CANCELING" else dg.DagsterRunStatus.FAILURE
    assert run is not None
    assert run.status is ended
    assert list_held_slots(instance) == []
    assert close_dead_runs(instance) == []


def test_a_run_in_the_queue_waits_for_the_next_daemon(instance: dg.DagsterInstance) -> None:
    process, run_id = started("QUEUED")
    kill(process)
    assert close_dead_runs(instance) == []
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.QUEUED


@pytest.mark.slow
def test_the_real_command(home: Path) -> None:
    """``dagster asset materialize`` of an asset of ours, stopped as soon as its run is there, and killed."""
    command = [
        *(sys.executable, "-m", "dagster", "asset", "materialize", "-m", "icd_assets.definitions"),
        *("--select", "leaderboard"),
    ]
    with dg.DagsterInstance.get() as instance:
        instance.get_runs(limit=1)
        instance.get_asset_keys()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "RESULT_DIR": str(home / "results"), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=environment, cwd=home, **quiet)  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + 60
            while not (runs := instance.get_runs(limit=1)):
                assert process.poll() is None
                assert time.monotonic() < deadline
        finally:
            process.kill()
            process.wait()
        owner = read_owner(runs[0].tags, runs[0].run_id)
        assert owner is not None
        assert owner.pid == process.pid
        if not instance.get_runs(limit=1)[0].is_finished:
            assert len(close_dead_runs(instance)) >= 1
        assert list_open_runs(instance) == []
