"""``train --launch``: the run goes through Dagster's queue, and the command follows it to its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import dagster as dg
import pytest

from icd_assets.defs.runs.run_owner import read_owner
from icd_assets_tests.worlds.daemon import daemon
from icd_assets_tests.worlds.workplace import CELL, KEY, Workplace, shrink

POOLS = ("--to", "candidate_pools", "--launch")


def runs(place: Workplace) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(str(place.folder)) as instance:
        return list(instance.get_runs())


def test_a_launched_run_is_followed_to_its_end(workplace: Workplace) -> None:
    shrink(workplace)
    ended = workplace.train(*POOLS, "--no-follow")
    assert ended.returncode == 0, ended.stderr
    assert "is in the queue\n" in ended.stdout and "note: no daemon is at work" in ended.stdout
    (queued,) = runs(workplace)
    assert queued.status is dg.DagsterRunStatus.QUEUED
    assert queued.tags["dagster/partition"] == KEY
    assert read_owner(queued.tags, queued.run_id) is None, "whoever asks for it is not its process"

    command = [sys.executable, "-m", "icd_assets.cli", "train", *CELL, *POOLS]
    asked = subprocess.Popen(
        command, cwd=workplace.folder, env=workplace.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while len(runs(workplace)) < 2 and time.monotonic() < deadline:
        time.sleep(1)
    time.sleep(2)
    asked.send_signal(signal.SIGINT)
    _, error = asked.communicate(timeout=30)
    assert asked.returncode == 130
    assert b" goes on; to stop it: icd-assets ui, Runs, Terminate\n" in error and error.count(b"\n") == 1
    assert {run.status.value for run in runs(workplace)} == {"QUEUED"}, "it goes on"

    with daemon(workplace, {"DAGSTER_HOME": str(workplace.folder), "ICD_EXECUTOR": "in_process"}):
        ended = workplace.train("--force", "candidate_pools", *POOLS, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "candidate_pools: at work\n" in ended.stdout and "] candidate_pools: ended after " in ended.stdout
    assert ended.stdout.rstrip().endswith("ended well")
    assert runs(workplace)[0].is_success
    again = workplace.train(*POOLS)
    assert "nothing had to be done" in again.stdout


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        (
            "dagster.yaml",
            "run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}\n",
            "without queue",
        ),
        ("workspace.yaml", "load_from: [", "names no code location of this project"),
    ],
)
def test_what_stands_in_the_way_is_named(workplace: Workplace, file: str, text: str, words: str) -> None:
    (workplace.folder / file).write_text(text)
    ended = workplace.train(*POOLS)
    assert ended.returncode == 2
    assert words in ended.stderr and file in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--launch", "--dry-run"), "--launch is not for --dry-run"),
        (("--launch", "--seeds", "1,2"), "--launch is not for --seeds"),
        (("--no-follow",), "give --launch too"),
    ],
)
def test_flags_that_do_not_go_together(workplace: Workplace, flags: tuple[str, ...], words: str) -> None:
    ended = workplace.train(*flags)
    assert ended.returncode == 2 and words in ended.stderr
