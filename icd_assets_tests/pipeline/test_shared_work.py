"""Several processes share a step's questions: the same artifacts to the byte, whoever dies on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from icd_assets.store.digests import sha256_file
from icd_assets_tests.worlds.workplace import CELL, Workplace, new_workplace, shrink

pytestmark = pytest.mark.slow

_LIVES = (0.3, 6.0)  # seconds in which a worker answers
_OPENED = 200  # bytes: more than its first message has, that it is open
# Each holds when it was made, or by whom.
_OF_ITS_TIME = (".manifest.json", "report.html", "leaderboard.json")


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return trained(tmp_path_factory.mktemp("serial"), ICD_WORKERS="1")


def trained(folder: Path, **variables: str) -> Workplace:
    place = new_workplace(folder)
    shrink(place)
    ended = place.train("--to", "evaluation", ICD_THREADS="1", **variables)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return place


def artifacts(place: Workplace) -> dict[str, str]:
    """Every file that was made, but for what says when and where."""
    return {
        str(path.relative_to(place.results)): sha256_file(path)
        for path in sorted(place.results.rglob("*"))
        if path.is_file() and made(path.relative_to(place.results))
    }


def made(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and not path.name.endswith(_OF_ITS_TIME)


def test_more_workers_make_the_same_files(serial: Workplace, tmp_path: Path) -> None:
    shared = trained(tmp_path, ICD_WORKERS="4")
    assert artifacts(shared) == artifacts(serial)
    assert len(artifacts(serial)) > 10


def test_dead_workers_change_nothing(serial: Workplace, tmp_path: Path) -> None:
    struck, place = with_deaths(tmp_path, 3, seed=1)
    assert struck > 0
    assert artifacts(place) == artifacts(serial)


@pytest.mark.torture
def test_twenty_dead_workers_change_nothing(serial: Workplace, tmp_path: Path) -> None:
    struck = 0
    for round_ in range(20):
        if struck >= 20:
            break
        now, place = with_deaths(tmp_path / str(round_), 4, seed=round_)
        struck += now
        assert artifacts(place) == artifacts(serial)
    assert struck >= 20


def with_deaths(folder: Path, most: int, seed: int) -> tuple[int, Workplace]:
    """How many workers were killed, at random times, while a run of two of them went on."""
    place = new_workplace(folder)
    shrink(place)
    rng, struck = random.Random(seed), 0
    command = [sys.executable, "-m", "icd_assets.cli", "train", *CELL, "--to", "evaluation"]
    run = subprocess.Popen(
        command,
        cwd=place.folder,
        env=place.environment | {"ICD_WORKERS": "2", "ICD_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # Who dies three times before it has answered anything counts as broken; a busy machine is slow to open it.
    first_seen: dict[int, float] = {}
    life = rng.uniform(*_LIVES)
    while run.poll() is None and struck < most:
        for pid in workers_of(place.folder):
            if pid not in first_seen and bytes_written(pid) > _OPENED:
                first_seen[pid] = time.monotonic()
        answering = set(workers_of(place.folder)) & {*first_seen}
        if found := [pid for pid in sorted(answering) if time.monotonic() - first_seen[pid] > life]:
            os.kill(rng.choice(found), signal.SIGKILL)
            struck, life = struck + 1, rng.uniform(*_LIVES)
        time.sleep(0.1)
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output
    return struck, place


def bytes_written(pid: int) -> int:
    """To whatever a process has open, a worker's parent above all: proc(5)'s io; 0 if it is gone."""
    try:
        facts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except OSError:
        return 0
    return int(facts["wchar"])


def workers_of(folder: Path) -> list[int]:
    """The workers at work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"icd_assets.vlm.worker" in words and (process / "cwd").resolve() == folder.resolve():
                found.append(int(process.name))
    return found
