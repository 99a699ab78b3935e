"""Actors of a Ray cluster share a step's questions: the same artifacts to the byte, whoever dies on the way."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from icd_assets_tests.pipeline.test_shared_work import artifacts, trained
from icd_assets_tests.worlds.ray_cluster import RayCluster, needs_ray, ray_cluster
from icd_assets_tests.worlds.workplace import CELL, Workplace, new_workplace, shrink

pytestmark = [pytest.mark.torture, pytest.mark.slow, needs_ray]

_LIVES = (1.5, 5.0)  # CPU seconds with the model open: whoever dies three times before its first answer is broken
_STRUCK = 20


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return trained(tmp_path_factory.mktemp("serial"), ICD_WORKERS="1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(nodes=2) as cluster:
        yield cluster


def place_at(folder: Path) -> Workplace:
    place = new_workplace(folder)
    shrink(place)
    return place


def start(place: Workplace, cluster: RayCluster, workers: str = "ray") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "icd_assets.cli", "train", *CELL, "--to", "evaluation"]
    return subprocess.Popen(
        [*cluster.inside, *command],
        cwd=place.folder,
        env=place.environment | cluster.environment | {"ICD_WORKERS": workers, "ICD_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended_well(run: subprocess.Popen[str]) -> None:
    output, _ = run.communicate(timeout=1800)
    assert run.returncode == 0, output


def at_work(cluster: RayCluster) -> list[int]:
    """The actors that have opened the model: its weights are mapped into their memory."""
    found = []
    for pid in cluster.workers():
        with suppress(OSError):
            if ".safetensors" in Path(f"/proc/{pid}/maps").read_text():
                found.append(pid)
    return found


def kept(place: Workplace) -> int:
    """How many answers."""
    path = place.results / ".icd_assets/answers.sqlite"
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        return int(store.execute("SELECT count(*) FROM answers").fetchone()[0])
    return 0


def none_left(cluster: RayCluster, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while cluster.workers() and time.monotonic() < end:
        time.sleep(0.1)
    return not cluster.workers()


def test_two_nodes_make_the_same_files(serial: Workplace, cluster: RayCluster, tmp_path: Path) -> None:
    place = place_at(tmp_path)
    run = start(place, cluster)
    seen: set[int] = set()
    while run.poll() is None:
        seen |= {*at_work(cluster)}
        time.sleep(0.2)
    ended_well(run)
    assert artifacts(place) == artifacts(serial)
    assert len(seen) >= 2, "both nodes have worked"
    assert none_left(cluster, 15)


def test_twenty_dead_actors_change_nothing(serial: Workplace, cluster: RayCluster, tmp_path: Path) -> None:
    struck = 0
    for round_ in range(2 * _STRUCK):  # one dies or two in each: the cell is small
        if struck >= _STRUCK:
            break
        place = place_at(tmp_path / str(round_))
        struck += with_deaths(place, cluster, random.Random(round_), _STRUCK - struck)
        assert artifacts(place) == artifacts(serial)
    assert struck >= _STRUCK


def with_deaths(place: Workplace, cluster: RayCluster, rng: random.Random, most: int) -> int:
    """How many actors were killed at random times while a run went on."""
    struck, run = 0, start(place, cluster)
    opened: dict[int, float] = {}  # CPU seconds that it had used by then
    life = rng.uniform(*_LIVES)
    while run.poll() is None:
        answering = at_work(cluster)
        for pid in answering:
            opened.setdefault(pid, cpu_seconds(pid))
        found = [pid for pid in answering if cpu_seconds(pid) - opened[pid] > life]
        if struck < most and found:
            os.kill(rng.choice(found), signal.SIGKILL)
            struck, life = struck + 1, rng.uniform(*_LIVES)
        time.sleep(0.1)
    ended_well(run)
    return struck


def cpu_seconds(pid: int) -> float:
    """That it has used; 0 if it is gone: proc(5)'s stat."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_run_killed_with_processes_goes_on_with_ray(
    serial: Workplace, cluster: RayCluster, tmp_path: Path
) -> None:
    place = place_at(tmp_path)
    killed(start(place, cluster, "2"), place)
    assert artifacts(place) != artifacts(serial)
    ended_well(start(place, cluster))
    assert artifacts(place) == artifacts(serial)


def test_actors_end_with_a_killed_run_which_goes_on_with_processes(
    serial: Workplace, cluster: RayCluster, tmp_path: Path
) -> None:
    place = place_at(tmp_path)
    run = start(place, cluster)
    killed(run, place)
    assert none_left(cluster, 15), "actors outlive the run"
    assert artifacts(place) != artifacts(serial)
    ended_well(start(place, cluster, "2"))
    assert artifacts(place) == artifacts(serial)


def test_ctrl_c_ends_the_actors(cluster: RayCluster, tmp_path: Path) -> None:
    place = place_at(tmp_path)
    run = start(place, cluster)
    until_answers(run, place)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    assert none_left(cluster, 15), "actors outlive the run"


def killed(run: subprocess.Popen[str], place: Workplace) -> None:
    until_answers(run, place)
    run.kill()
    run.communicate(timeout=60)


def until_answers(run: subprocess.Popen[str], place: Workplace) -> None:
    """Some are kept, and the run goes on."""
    while run.poll() is None and kept(place) < 100:  # of 1,800
        time.sleep(0.05)
    assert run.poll() is None
