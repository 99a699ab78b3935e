"""A run's process on another machine is known for alive while its sign changes, and for dead when it stops."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg
import pytest

from icd_assets.defs.runs import run_watch, signs_of_life
from icd_assets.defs.runs.dead_runs import close_dead_runs, list_open_runs
from icd_assets.defs.runs.run_owner import owner_tags
from icd_assets.defs.runs.signs_of_life import _key, end_signs, show_life, silent
from icd_assets.runtime.process_record import ProcessRecord

ELSEWHERE = ProcessRecord("another", 4711, "boot/table/1")
STARTED = dg.DagsterRunStatus.STARTED


class Clocks:
    """Of the watching machine: the wall's, and the one that only goes forward."""

    def __init__(self) -> None:
        self.wall, self.ticks = 1e9, 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    found = Clocks()
    monkeypatch.setattr(time, "time", lambda: found.wall)
    monkeypatch.setattr(time, "monotonic", lambda: found.ticks)
    monkeypatch.setattr(time, "sleep", found.pass_by)
    monkeypatch.setattr(signs_of_life, "_seen", {})
    return found


@pytest.fixture
def opened() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as instance:
        yield instance


def begun(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = STARTED) -> str:
    run = dg.DagsterRun(job_name="job", status=status)
    return instance.add_run(run.with_tags(owner_tags(ELSEWHERE, run.run_id))).run_id


def sign(instance: dg.DagsterInstance, run_id: str, at: float) -> None:
    instance.daemon_cursor_storage.set_cursor_values({_key(run_id): repr(at)})


@pytest.mark.parametrize("skew", [0.0, -3600.0, 3600.0])
def test_a_sign_that_changes_is_life_whatever_its_machines_clock(
    skew: float, opened: dg.DagsterInstance, clocks: Clocks
) -> None:
    run_id = begun(opened)
    for _ in range(30):
        sign(opened, run_id, clocks.wall + skew)
        assert close_dead_runs(opened) == []
        clocks.pass_by(2.0)
    (found,) = list_open_runs(opened)
    assert found.gone is False and not found.undecided


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_one_that_stopped_is_dead_after_ten_seconds(
    skew: float, opened: dg.DagsterInstance, clocks: Clocks
) -> None:
    run_id = begun(opened)
    opened.event_log_storage.set_concurrency_slots("gpu", 1)
    opened.event_log_storage.claim_concurrency_slot("gpu", run_id, "rl_data")
    sign(opened, run_id, clocks.wall + skew)
    assert close_dead_runs(opened) == []
    clocks.pass_by(9.0)
    assert close_dead_runs(opened) == []
    clocks.pass_by(1.5)
    failed, freed = close_dead_runs(opened)
    assert failed.endswith("process 4711 on another shows no sign of life")
    assert freed == f"slot of pool gpu freed: run {run_id} has ended"
    run = opened.get_run_by_id(run_id)
    assert run is not None and run.is_failure


def test_a_command_waits_until_it_knows(opened: dg.DagsterInstance, clocks: Clocks) -> None:
    run_id = begun(opened)
    sign(opened, run_id, clocks.wall - 60)
    began = clocks.ticks
    assert len(close_dead_runs(opened, patient=True)) == 1
    assert 10 <= clocks.ticks - began <= 12


def test_it_does_not_wait_for_who_lives(opened: dg.DagsterInstance, clocks: Clocks) -> None:
    run_id = begun(opened)
    sign(opened, run_id, clocks.wall - 1)
    began = clocks.ticks
    assert close_dead_runs(opened, patient=True) == []
    assert clocks.ticks == began
    begun(opened)  # never gave one: an older version's, or not begun yet
    assert close_dead_runs(opened, patient=True) == []
    assert [found.gone for found in list_open_runs(opened)] == [None, False]


def test_records_that_were_away_are_watched_anew(
    opened: dg.DagsterInstance, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(opened)
    sign(opened, run_id, clocks.wall)
    assert not run_watch._over(opened, run_id)
    clocks.pass_by(8.0)
    with monkeypatch.context() as away:
        away.setattr(opened, "get_runs", lambda **_: 1 / 0)
        assert not run_watch._over(opened, run_id)
    clocks.pass_by(8.0)
    assert not run_watch._over(opened, run_id), "watched for nothing in between"
    clocks.pass_by(8.0)
    assert not run_watch._over(opened, run_id)
    clocks.pass_by(8.0)
    assert run_watch._over(opened, run_id)


def test_a_run_gives_signs_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "SIGN_SECONDS", 0.05)
    with dg.DagsterInstance.local_temp() as instance:
        run_id = begun(instance)
        show_life(instance, run_id)
        show_life(instance, run_id)
        seen = set()
        until = time.monotonic() + 20
        while len(seen) < 3 and time.monotonic() < until:
            seen |= {*instance.daemon_cursor_storage.get_cursor_values({_key(run_id)}).values()}
        assert len(seen) >= 3
        end_signs(run_id)
        time.sleep(0.5)
        last = instance.daemon_cursor_storage.get_cursor_values({_key(run_id)})
        time.sleep(0.3)
        assert instance.daemon_cursor_storage.get_cursor_values({_key(run_id)}) == last
        assert silent(instance, run_id) is False
        assert silent(instance, "another") is None
