"""A dead process is told apart from a live one, and from another that was given its number."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from icd_assets.defs.runs.run_owner import owner_tags, read_owner
from icd_assets.runtime import process_record as processes
from icd_assets.runtime.process_record import ProcessRecord

RUN = "run-1"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_alive_then_a_zombie_then_absent(sleeper: subprocess.Popen[bytes]) -> None:
    record = ProcessRecord.of(sleeper.pid)
    assert record.gone() is False
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet looked at by its parent
    assert record.gone() is True
    sleeper.wait()
    assert record.gone() is True


def test_a_recycled_number_does_not_fool() -> None:
    mine = ProcessRecord.of(os.getpid())
    table, _, ticks = mine.born.rpartition("/")
    assert replace(mine, born=f"{table}/{int(ticks) - 1}").gone() is True
    assert mine.gone() is False


def test_after_a_restart_of_the_machine_nothing_lives() -> None:
    mine = ProcessRecord.of(os.getpid())
    _, rest = mine.born.split("/", 1)
    assert replace(mine, born=f"another-boot/{rest}").gone() is True
    assert replace(mine, born=f"another-boot/{rest}", host="elsewhere").gone() is None


def test_another_container_cannot_be_judged() -> None:
    mine = ProcessRecord.of(os.getpid())
    boot, _, ticks = mine.born.split("/")
    assert replace(mine, born=f"{boot}/pid:[1]/{ticks}", pid=4_000_000).gone() is None


def test_where_the_system_does_not_say_only_an_absent_number_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "process_table", lambda: "")
    mine = ProcessRecord.of(os.getpid())
    assert mine.born == ""
    assert mine.gone() is False
    assert replace(mine, pid=4_194_305).gone() is True  # above the kernel's largest number
    assert replace(mine, pid=4_194_305, host="elsewhere").gone() is None


def test_a_hidden_process_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, on a machine that hides them: /proc does not show it, but a signal finds it."""
    mine = ProcessRecord.of(os.getpid())
    monkeypatch.setattr(processes, "_state", lambda pid: None)

    def refused(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(processes.os, "kill", refused)
    assert mine.gone() is False


def test_the_tags_are_hidden_in_the_ui_and_those_of_older_runs_are_read() -> None:
    mine = ProcessRecord.of(os.getpid())
    tags = owner_tags(mine, RUN)
    assert all(key.startswith(".dagster/") for key in tags)
    older = {key.replace(".dagster/icd_", "icd/"): value for key, value in tags.items()}
    assert sorted(older) == ["icd/born", "icd/host", "icd/pid", "icd/process_of"]
    assert read_owner(older, RUN) == mine
    assert read_owner(older, "run-2") is None


def test_tags_that_a_reexecution_copied_are_not_its_own() -> None:
    mine = ProcessRecord.of(os.getpid())
    tags = owner_tags(mine, RUN)
    assert read_owner(tags, RUN) == mine
    assert read_owner(tags, "run-2") is None
    assert read_owner({}, RUN) is None
    assert read_owner({**tags, ".dagster/icd_pid": "1; rm"}, RUN) is None
    assert mine.host == socket.gethostname()
