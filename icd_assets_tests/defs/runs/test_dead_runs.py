"""A command line that was killed, as real processes: what it leaves, who fixes it, and what is never touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icd_assets.defs.runs.dead_runs import close_dead_runs, list_held_slots, list_open_runs
from icd_assets.defs.runs.run_owner import owner_tags
from icd_assets.runtime.process_record import ProcessRecord
from icd_assets_tests.worlds.workplace import CELL, Workplace, new_workplace

pytestmark = pytest.mark.slow

# Up to the first step that needs a GPU, with few prompts in it.
SHORT = ("--to", "beam_data", "--set", "shared.pool_size=6", "--set", "beam_data.expand=2")


@dataclass(frozen=True)
class Killed:
    """A workplace whose ``train`` was killed inside its first GPU step."""

    place: Workplace
    run_id: str
    while_it_lived: dict[str, Any]  # the doctor's report while the process was there


def slot_holder(place: Workplace) -> str | None:
    """The run that holds a slot of the pool. Not through an instance: two that make its tables break it."""
    index = place.folder / "history/runs/index.db"
    try:
        with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT run_id FROM concurrency_slots WHERE run_id IS NOT NULL").fetchone()
    except sqlite3.OperationalError:
        return None
    return row[0] if row else None


def report(place: Workplace, *flags: str, blocked: bool = False) -> dict[str, Any]:
    ended = place.run("doctor", "--json", *flags)
    assert ended.returncode == (2 if blocked else 0), ended.stderr + ended.stdout
    return json.loads(ended.stdout)  # type: ignore[no-any-return]


def explain(report: dict[str, Any], *levels: str) -> str:
    return "\n".join(f["found"] for f in report["findings"] if f["level"] in levels)


@contextmanager
def instance_of(place: Workplace) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(place.folder)) as instance:
        yield instance


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    place = new_workplace(tmp_path_factory.mktemp("killed"))
    command = [sys.executable, "-m", "icd_assets.cli", "train", *CELL, *SHORT]
    process = subprocess.Popen(command, cwd=place.folder, env=place.environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while (run_id := slot_holder(place)) is None:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)  # alive, but it cannot end before it was looked at
        while_it_lived = report(place)
    finally:
        process.kill()
        process.wait()
    return Killed(place, run_id, while_it_lived)


@pytest.fixture
def copied(killed: Killed, tmp_path: Path) -> Workplace:
    shutil.copytree(killed.place.folder, tmp_path / "copy")
    return Workplace(tmp_path / "copy")


def test_a_live_run_is_never_touched(killed: Killed) -> None:
    assert "1 at work, their processes are alive" in explain(killed.while_it_lived, "ok")
    assert explain(killed.while_it_lived, "fixed", "problem") == ""


def test_the_doctor_fixes_it_and_the_next_run_starts_at_once(killed: Killed, copied: Workplace) -> None:
    with instance_of(copied) as instance:
        run = instance.get_run_by_id(killed.run_id)
        assert run is not None and run.status is dg.DagsterRunStatus.STARTED
    assert f"run {killed.run_id} is STARTED, but process" in explain(
        report(copied, "--no-fix", blocked=True), "problem"
    )
    assert slot_holder(copied) == killed.run_id
    fixed = explain(report(copied), "fixed")
    assert f"run {killed.run_id} marked as failed" in fixed
    assert f"slot of pool gpu freed: run {killed.run_id}" in fixed
    assert explain(report(copied), "fixed") == ""
    with instance_of(copied) as instance:
        run = instance.get_run_by_id(killed.run_id)
        assert run is not None and run.status is dg.DagsterRunStatus.FAILURE
    assert slot_holder(copied) is None
    ended = copied.train(*SHORT, timeout=120)
    assert ended.returncode == 0, ended.stderr + ended.stdout


def test_the_next_run_fixes_it_by_itself(killed: Killed, copied: Workplace) -> None:
    ended = copied.train(*SHORT, timeout=120)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert f"run {killed.run_id} marked as failed: process" in ended.stdout
    with instance_of(copied) as instance:
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS", "FAILURE"]


def test_a_recycled_number_does_not_save_a_dead_run(killed: Killed, copied: Workplace) -> None:
    with instance_of(copied) as instance:
        instance.add_run_tags(
            killed.run_id, {".dagster/icd_pid": str(os.getpid())}
        )  # alive, but born at another time
        (found,) = list_open_runs(instance)
        assert found.gone is True
        assert len(close_dead_runs(instance)) == 2
        assert close_dead_runs(instance) == []


def test_what_cannot_be_judged_is_left_alone(killed: Killed, copied: Workplace) -> None:
    mine = ProcessRecord.of(os.getpid())
    with instance_of(copied) as instance:
        for tags in (
            {".dagster/icd_process_of": "another run"},
            {**owner_tags(mine, killed.run_id), ".dagster/icd_born": "a/b/1", ".dagster/icd_host": "x"},
        ):
            instance.add_run_tags(killed.run_id, tags)
            (found,) = list_open_runs(instance)
            assert not found.gone
            assert close_dead_runs(instance) == []
    forget_signs(copied)
    assert f"run {killed.run_id} is STARTED, its process on another machine" in explain(report(copied), "warning")


def forget_signs(place: Workplace) -> None:
    """As if its process had never given any: an older version's."""
    with closing(sqlite3.connect(place.folder / "history/runs.db")) as connection, connection:
        assert connection.execute("DELETE FROM kvs WHERE key LIKE 'icd_assets/%'").rowcount == 1


def test_a_run_on_another_machine_that_gives_no_sign_of_life_is_dead(killed: Killed, copied: Workplace) -> None:
    with instance_of(copied) as instance:
        instance.add_run_tags(killed.run_id, {".dagster/icd_born": "a/b/1", ".dagster/icd_host": "x"})
    fixed = explain(report(copied), "fixed")
    assert f"run {killed.run_id} marked as failed" in fixed and "shows no sign of life" in fixed
    assert f"slot of pool gpu freed: run {killed.run_id}" in fixed


def test_a_run_that_ended_well_meanwhile_stays_a_success(
    killed: Killed, copied: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is listed as started, ends, its process goes; only then is it looked for."""
    with instance_of(copied) as instance:
        listed = list_open_runs(instance)
        instance.report_dagster_event(
            dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name="x"), run_id=killed.run_id
        )
        monkeypatch.setattr("icd_assets.defs.runs.dead_runs.list_open_runs", lambda instance, **_: listed)
        assert [sentence.split(":")[0] for sentence in close_dead_runs(instance)] == ["slot of pool gpu freed"]
        run = instance.get_run_by_id(killed.run_id)
        assert run is not None and run.status is dg.DagsterRunStatus.SUCCESS


def test_a_run_being_canceled_is_canceled(killed: Killed, copied: Workplace) -> None:
    with instance_of(copied) as instance:
        run = instance.get_run_by_id(killed.run_id)
        assert run is not None
        instance.report_run_canceling(run)
        close_dead_runs(instance)
        ended = instance.get_run_by_id(killed.run_id)
        assert ended is not None and ended.status is dg.DagsterRunStatus.CANCELED


def test_a_queued_run_has_no_process_and_is_left(killed: Killed, copied: Workplace) -> None:
    with closing(sqlite3.connect(copied.folder / "history/runs.db")) as connection, connection:
        connection.execute("UPDATE runs SET status = 'QUEUED'")
    with instance_of(copied) as instance:
        assert list_open_runs(instance) == []


def test_a_slot_of_a_deleted_run_is_freed(killed: Killed, copied: Workplace) -> None:
    with instance_of(copied) as instance:
        instance.run_storage.delete_run(killed.run_id)
        assert [slot.run_id for slot in list_held_slots(instance)] == [killed.run_id]
        close_dead_runs(instance)
        assert list_held_slots(instance) == []
    assert slot_holder(copied) is None
