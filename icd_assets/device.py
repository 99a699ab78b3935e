"""Which GPU a step may use: one holder per GPU on a machine, and the kernel frees what the dead held."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icd_assets.locks import Holder, OnWait, hold_one, wait_silently


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
def lease(folder: Path, holder: Holder | None = None, on_wait: OnWait = wait_silently) -> Iterator[str]:
    """Hold one GPU (``cuda:0`` after CUDA_VISIBLE_DEVICES is narrowed to it), or ``cpu`` if there is none.

    Waits while all are held. Enter it before torch is imported, or the narrowing is not heard.
    """
    if not (gpus := visible_gpus()):
        yield "cpu"
        return
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    locks = {f"GPU {name}": folder / f"gpu-{name}.lock" for name in gpus}
    with hold_one(locks, holder or Holder(), on_wait) as held:
        os.environ["CUDA_VISIBLE_DEVICES"] = held.removeprefix("GPU ")
        try:
            yield "cuda:0"
        finally:
            if before is None:
                del os.environ["CUDA_VISIBLE_DEVICES"]
            else:
                os.environ["CUDA_VISIBLE_DEVICES"] = before
