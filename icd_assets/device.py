"""Which GPU a step may use: one holder per GPU on a machine, and the kernel frees what the dead held."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_POLL_SECONDS = 2.0


def visible_gpus() -> list[str]:
    """The GPUs this process may use, by what CUDA_VISIBLE_DEVICES calls them; empty on a machine with none."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True)
    count = sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if count == 0 or allowed is None:
        return [str(index) for index in range(count)]
    return [name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1")]


@contextmanager
def lease(folder: Path) -> Iterator[str]:
    """Hold one GPU (``cuda:0`` after CUDA_VISIBLE_DEVICES is narrowed to it), or ``cpu`` if there is none.

    Waits while all are held. Enter it before torch is imported, or the narrowing is not heard.
    """
    gpus = visible_gpus()
    if not gpus:
        yield "cpu"
        return
    folder.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    held, name = _first_free(gpus, folder)
    try:
        os.environ["CUDA_VISIBLE_DEVICES"] = name
        yield "cuda:0"
    finally:
        held.release()
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def _first_free(gpus: list[str], folder: Path) -> tuple[FileLock, str]:
    while True:
        for name in gpus:
            lock = FileLock(folder / f"gpu-{name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return lock, name
        time.sleep(_POLL_SECONDS)
