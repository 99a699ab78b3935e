"""A run whose steps are jobs of a Ray cluster: when its worker is killed they end, and nobody waits for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest

from icd_assets.defs.runs.run_owner import read_owner
from icd_assets_tests.worlds.daemon import daemon
from icd_assets_tests.worlds.ray_cluster import RayCluster, needs_ray, ray_cluster
from icd_assets_tests.worlds.workplace import CELL, KEY, new_workplace

pytestmark = [
    pytest.mark.torture,
    pytest.mark.slow,
    needs_ray,
    pytest.mark.skipif(find_spec("dagster_ray") is None, reason="needs icd-assets[ray]"),
]

_SECONDS = 15.0


@pytest.fixture
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(nodes=1, jobs=True, gpus=1) as cluster:
        yield cluster


def steps(cluster: RayCluster) -> list[int]:
    """The processes that execute a step."""
    found = []
    for pid in cluster.processes():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"execute_step" in words and not words[0].endswith(b"sh"):
                found.append(pid)
    return found


def until(what: str, done: object, seconds: float) -> float:
    """Seconds until ``done()``."""
    began = time.monotonic()
    while not done():  # type: ignore[operator]
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)
    return time.monotonic() - began


def test_a_killed_runs_worker_leaves_no_step_and_no_slot(cluster: RayCluster, tmp_path: Path) -> None:
    place = new_workplace(tmp_path)
    jobs = {
        "DAGSTER_HOME": str(place.folder),
        "ICD_EXECUTOR": "ray",
        "RAY_ADDRESS": "http://127.0.0.1:8265",
        "ICD_THREADS": "1",
    }
    asked = [*cluster.inside, sys.executable, "-m", "icd_assets.cli", "train", *CELL, "--to", "beam_data"]
    with daemon(place, jobs, cluster.inside):
        queued = subprocess.run(
            [*asked, "--launch", "--no-follow"],
            cwd=place.folder,
            env=place.environment | jobs,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert queued.returncode == 0, queued.stdout + queued.stderr
        with dg.DagsterInstance.from_config(str(place.folder)) as instance:
            (run,) = instance.get_runs()

            def slots() -> list[str]:
                info = instance.event_log_storage.get_concurrency_info("gpu")
                return [slot.run_id for slot in info.claimed_slots]

            store = place.results / ".icd_assets/answers.sqlite"
            until("beam_data asks the model", lambda: steps(cluster) and slots() and store.exists(), 400)
            assert slots() == [run.run_id]
            found = instance.get_run_by_id(run.run_id)
            assert found is not None and found.tags["dagster/partition"] == KEY
            owner = read_owner(found.tags, found.run_id)
            assert owner is not None
            os.kill(owner.pid, signal.SIGKILL)
            gone = until("no step is alive", lambda: not steps(cluster), _SECONDS)
            free = until("the slot is free", lambda: not slots(), _SECONDS)
            print(f"after {gone:.1f} s no step was alive, {free:.1f} s later the slot was free")
            found = instance.get_run_by_id(run.run_id)
            assert found is not None and found.status is dg.DagsterRunStatus.FAILURE
    ended = place.train("--to", "beam_data", ICD_THREADS="1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
