"""A Ray cluster of several nodes on this machine, in a network namespace of its own: nobody else reaches it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from icd_assets_tests.worlds.workplace import ROOT

_START_SECONDS = 120.0
_RAY = [sys.executable, "-m", "ray.scripts.scripts"]
_ALL = ["--node-ip-address", "127.0.0.1", "--num-cpus", "1", "--disable-usage-stats"]


def _namespaces() -> bool:
    tools = all(map(shutil.which, ("unshare", "nsenter", "ip")))
    return tools and subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0


needs_ray = pytest.mark.skipif(
    find_spec("ray") is None or not _namespaces(), reason="needs icd-assets[ray], and network namespaces (root)"
)


@dataclass(frozen=True)
class RayCluster:
    """``inside``: the beginning of a command that is to run beside its nodes."""

    inside: list[str]
    network: str

    @property
    def environment(self) -> dict[str, str]:
        return {"RAY_ADDRESS": "127.0.0.1:6379"}

    def processes(self) -> list[int]:
        """All that are in its namespace."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if str((process / "ns/net").readlink()) == self.network:
                    found.append(int(process.name))
        return found

    def workers(self) -> list[int]:
        """The processes of our actors."""
        found = []
        for pid in self.processes():
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::Actor"):
                    found.append(pid)
        return sorted(found)


@contextmanager
def ray_cluster(nodes: int = 2, *, jobs: bool = False, gpus: int = 0) -> Iterator[RayCluster]:
    """Each node has one CPU, and was started elsewhere than a run. ``jobs``: the head takes some, at port
    8265. ``gpus``: that each says it has."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets' paths have 107 bytes
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # a job calls `dagster`
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": programs}
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 86400"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "up\n"
    cluster = RayCluster(
        ["nsenter", "--net", "--target", str(holder.pid), "--"], str(Path(f"/proc/{holder.pid}/ns/net").readlink())
    )
    assert cluster.network != str(Path("/proc/self/ns/net").readlink())
    try:
        for number in range(nodes):
            head = ["--head", "--port", "6379", "--include-dashboard", str(jobs).lower(), "--temp-dir", folder]
            role = ["--address", "127.0.0.1:6379"] if number else head
            started = subprocess.run(
                [*cluster.inside, *_RAY, "start", *role, *_ALL, "--num-gpus", str(gpus)],
                cwd="/",
                env=environment,
                capture_output=True,
                text=True,
                timeout=_START_SECONDS,
            )
            assert started.returncode == 0, started.stdout + started.stderr
        yield cluster
    finally:
        for _ in range(50):
            for pid in cluster.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if holder.poll() is not None and not cluster.processes():
                break
            time.sleep(0.1)
        holder.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)
