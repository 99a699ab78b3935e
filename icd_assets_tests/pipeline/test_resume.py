"""Struck at any point, run again: the bytes of an uninterrupted run, and at most one batch asked twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icd_assets_tests.torture.cases import ALL, OFTEN, Case, recipe_of
from icd_assets_tests.worlds.workplace import CELL, KEY, ROOT, Workplace, shrink

pytestmark = pytest.mark.slow

EPOCHS = {"v2_checkpoint": 3, "rce_checkpoints": 3, "grpo_checkpoints": 2}
EPOCHS |= dict.fromkeys(("singles_selector", "sequence_selector", "rl_selector"), 3)
THREADS = 2  # of the VLM in these runs
# A disk of our own to fill, in a mount namespace that ends with the process.
_OWN_DISK = 'mkdir -p "$1/disk" && mount -t tmpfs -o size=96m,nr_inodes=20k none "$1/disk" && shift && exec "$@"'


def run_cases(folder: Path, cases: list[Case], timeout: float) -> dict[str, dict[str, Any]]:
    """All cases, those of each recipe in one driver; their results by name."""
    found: dict[str, dict[str, Any]] = {}
    for recipe in ("beams", "rl"):
        if own := [case for case in cases if recipe_of(case) == recipe]:
            (folder / recipe).mkdir()
            found |= _run(folder / recipe, recipe, own, timeout)
    return found


def _run(folder: Path, recipe: str, cases: list[Case], timeout: float) -> dict[str, dict[str, Any]]:
    kept = ("PATH", "HOME", "LANG", "PYTHON", "COV", "LD_LIBRARY_PATH")
    environment = {name: value for name, value in os.environ.items() if name.startswith(kept)} | {
        "ICD_CATALOG": str(folder / "clean" / "catalog.yaml"),
        "OMP_WAIT_POLICY": "PASSIVE",
        "ICD_THREADS": str(THREADS),
        "PYTHONPATH": str(ROOT),
        "TORTURE_RECIPE": recipe,
    }
    driver = [sys.executable, "-m", "icd_assets_tests.torture.driver", str(folder)]
    results = folder / "results.jsonl"  # line by line, as the whole matrix takes hours
    with results.open("w") as lines:
        ended = subprocess.run(
            ["unshare", "-rm", "sh", "-c", _OWN_DISK, "sh", str(folder), *driver],
            input=json.dumps(cases),
            cwd=folder,
            env=environment,
            stdout=lines,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
        )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return {result["case"]: result for result in map(json.loads, results.read_text().splitlines())}


def can_mount() -> bool:
    try:
        command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


needs_mount = pytest.mark.skipif(not can_mount(), reason="this system lets no one mount a disk of their own")


@pytest.fixture(scope="session")
def often(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return run_cases(tmp_path_factory.mktemp("torture"), OFTEN, timeout=900)


@pytest.fixture(scope="session")
def always(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Those that were chosen (``-k``)."""
    items = [item for item in request.session.items if item.get_closest_marker("torture")]
    chosen = [case for case in ALL if any(f"[{case['name']}]" in item.name for item in items)]
    return run_cases(tmp_path_factory.mktemp("torture"), chosen, timeout=14400)


def names(cases: list[Case]) -> list[str]:
    return [case["name"] for case in cases]


@needs_mount
@pytest.mark.parametrize("name", names(OFTEN))
def test_the_next_run_ends_it(often: dict[str, dict[str, Any]], name: str) -> None:
    judge(often[name])


@needs_mount
@pytest.mark.torture
@pytest.mark.parametrize("name", names(ALL))
def test_the_next_run_ends_it_wherever_it_was_hit(always: dict[str, dict[str, Any]], name: str) -> None:
    judge(always[name])


# How a command says what the disk, or the memory, did to it.
_SENTENCES = {
    "fill": r"the disk is full: \S+/disk has \d+ of 96 MiB free; free some space, then run again",
    "inodes": r"no inodes \(files\) are left on \S+/disk: all but \d+ of 20,480 are in use, though it has \d+ of ",
    "readonly": r"\S+ cannot be written: \S+/results is mounted read-only; mount it for writing or name another",
    "edquot": r"the quota of this user on \S+ is used up, where the disk has [\d,]+ of [\d,]+ MiB free; remove",
    "enospc": r"the disk is full: \S+ has [\d,]+ of [\d,]+ MiB free; free some space, then run again",
    "erofs": r"\S+ cannot be written: \S+ is mounted read-only; mount it for writing or name another place",
    "memory": r"the memory does not suffice",
    "eio": r"the disk failed to read or write it",
    **dict.fromkeys(("enotsup", "enolck", "enosys"), r"the file system of \S+ refuses file locks, without which"),
}
_NO_LOCKS = ("enotsup", "enolck", "enosys")


def judge(result: dict[str, Any]) -> None:
    name = result["case"]
    asset, moment, rest = name.split(": ", 2)
    way = rest.split(",")[0]
    judge_first(result, way, of_dagster=", by dagster" in rest)
    assert result["broken"] is None
    assert result["open_runs_after_first"] in (None, 0)
    assert result["orphans"] == result["disorder"] == []
    if way in _NO_LOCKS:
        assert result["written"] == []

    code, output, errors = result["second"]
    assert code == 0, output + errors
    if result["meanwhile"] != result["second"]:
        assert "waiting" not in output  # neither a step nor a slot of the dead is in the way
    if result["first"][0] == 0:
        assert "nothing had to be done" in output
    assert result["different"] == []
    assert result["left"] == []
    twice = sum(result["asked"]) - result["asked_clean"]
    # Lost is what was being computed: a batch on each thread, and one that waits for those before it.
    assert twice <= (THREADS + 1) * max(result["asked"], default=0), result["asked"]
    records = result["records"]
    assert records["open_runs"] == records["slots"] == 0
    assert records["materializations"] >= 1
    assert records["epochs_shown"] <= EPOCHS.get(asset, 0)
    if asset in EPOCHS and moment == "mid-way" and result["first"][0] != 0:
        total = EPOCHS[asset]
        assert f"continuing at epoch {total} of {total}" in output


def judge_first(result: dict[str, Any], way: str, *, of_dagster: bool) -> None:
    """The command that was struck, and the one that came while it had stopped."""
    code, output, errors = result["first"]
    everything = output + errors
    assert not re.search(r"-\d+(\.\d+)? ?(m?s|min|h)\b", output), everything  # no time is negative
    if of_dagster:
        assert code != 0 or way == "stop", everything  # what it prints is Dagster's
    elif way.startswith("kill") or (way == "stop" and ", then killed" in result["case"]):
        assert code == -9, everything
    elif way.startswith(("term", "int", "hup")):
        assert code == 130, everything
        assert errors.endswith("the same command goes on from there\n")
        assert errors.count("\n") == 1, everything
    elif way in _SENTENCES:
        if code != 0:  # a full disk does not matter to one who has written all
            assert code == 2, everything
            assert "Traceback" not in errors
            assert re.search(_SENTENCES[way], errors.splitlines()[-1])  # caches may warn before it
        else:
            assert way not in _NO_LOCKS
    else:
        assert code == 0, everything
    if (meanwhile := result["meanwhile"]) is not None:
        assert re.search("waiting: .* is (held|in use) by .*process", meanwhile[1]), meanwhile
        assert (meanwhile[0], meanwhile[2].count("\n")) == ((0, 0) if meanwhile == result["second"] else (130, 1))


def start(place: Workplace, *flags: str, cell: list[str] = CELL) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "icd_assets.cli", "train", *cell, *flags],
        cwd=place.folder,
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(running: subprocess.Popen[str], text: str) -> str:
    """What it printed up to the line with ``text``."""
    assert running.stdout is not None
    printed = ""
    for line in running.stdout:
        printed += line
        if text in line:
            return printed
    raise AssertionError(printed)


def seconds_of_cpu(process: subprocess.Popen[str]) -> float:
    """In user mode and in the kernel's: fields 14 and 15 of proc(5)'s stat."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_together_they_work_in_turn(workplace: Workplace) -> None:
    """Two of one cell and one of another, started at once in a folder that no one has used."""
    shrink(workplace)
    cells = {"one": CELL, "same": CELL, "other": [*CELL[:4], "text_sim_sampler", CELL[5]]}
    running = {name: start(workplace, "--to", "beam_data", cell=cell) for name, cell in cells.items()}
    printed = {name: process.communicate(timeout=300)[0] for name, process in running.items()}
    assert [process.returncode for process in running.values()] == [0, 0, 0], printed
    for asset in ("candidate_pools", "beam_data"):
        assert (printed["one"] + printed["same"]).count(f"{asset}: made in") == 1
        assert printed["other"].count(f"{asset}: made in") == 1
    manifests = list(workplace.results.rglob("*.manifest.json"))
    assert sum(json.loads(path.read_text())["cell"] == KEY for path in manifests) == 2


@pytest.mark.parametrize(
    ("samplers", "said"),
    [
        (("rand_sampler", "rand_sampler"), f"waiting: {KEY} is held by another command (process"),
        (
            ("text_sim_sampler", "img_sim_sampler"),
            f"waiting: the pool gpu is in use by beam_data of {KEY} (process",
        ),
    ],
    ids=["of the same cell", "of other cells"],
)
def test_who_waits_can_be_ended_sleeps_and_outlives_who_is_killed(
    workplace: Workplace, samplers: tuple[str, str], said: str
) -> None:
    shrink(workplace)
    first = start(workplace, "--to", "beam_data")
    wait_for(first, "beam_data: missing")
    os.kill(first.pid, signal.SIGSTOP)  # it will hold its turn and the slot for as long as we like
    cells = [[sampler if word == "rand_sampler" else word for word in CELL] for sampler in samplers]
    ended, outlives = (start(workplace, "--to", "beam_data", cell=cell) for cell in cells)
    try:
        for waiting in (ended, outlives):
            wait_for(waiting, f"{said} {first.pid}, ")
        before = seconds_of_cpu(outlives)
        time.sleep(3)
        assert seconds_of_cpu(outlives) - before < 0.5
        ended.send_signal(signal.SIGTERM)
        assert "interrupted; what is complete is kept" in ended.communicate(timeout=60)[0]
        assert ended.returncode == 130
        first.kill()
        first.wait()
        assert "beam_data: made in" in outlives.communicate(timeout=120)[0]
        assert outlives.returncode == 0
    finally:
        for process in (first, ended, outlives):
            process.kill()
            process.communicate()
    with dg.DagsterInstance.from_config(str(workplace.folder)) as instance:
        assert all(run.is_finished for run in instance.get_runs())
        assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0
