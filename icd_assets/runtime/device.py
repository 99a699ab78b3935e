"""Which GPUs a step may use: one holder per GPU on a machine, and the kernel frees what the dead held.

Whatever CUDA_VISIBLE_DEVICES calls a GPU, and wherever the results go, its lock is one: a file named by its UUID,
in ``$ICD_LOCK_DIR`` or else in a folder of this user's among the temporary files. Containers that share a GPU must
share that folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.locks import Holder, OnWait, hold_some, wait_silently
from icd_assets.runtime.user_number import number_in
from icd_assets.runtime.user_path import expanded

_GPU = re.compile(r"^GPU (\d+): .*\(UUID: ([^)]+)\)", re.MULTILINE)
_MOST_WORKERS = 256
_UUID = re.compile(r"\(UUID: ([^)]+)\)")


def visible_gpus() -> dict[str, str]:
    """The GPUs this process may use: what CUDA_VISIBLE_DEVICES calls them → UUID; empty on a machine with none."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return {}
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True).stdout
    all_gpus = dict(_GPU.findall(listing))
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not all_gpus or allowed is None:
        return all_gpus
    names = [name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1")]
    uuids = _UUID.findall(listing)  # of a GPU's parts (MIG) too; CUDA takes a UUID's beginning
    return {
        name: all_gpus.get(name) or next((uuid for uuid in uuids if uuid.startswith(name)), name) for name in names
    }


def lock_folder() -> Path:
    """Where this machine's GPUs have their locks."""
    own = f"icd_assets-gpus-{os.getuid()}"
    return expanded(os.environ.get("ICD_LOCK_DIR") or Path(tempfile.gettempdir(), own), "ICD_LOCK_DIR")


@contextmanager
def lease(holder: Holder | None = None, on_wait: OnWait = wait_silently, *, most: int = 1) -> Iterator[str]:
    """Hold one GPU (``cuda:0`` after CUDA_VISIBLE_DEVICES is narrowed to it), or ``cpu`` if there is none.

    With ``most`` above 1, what else is free of them too. Waits while all are held. Enter it before torch is
    imported, or the narrowing has no effect.
    """
    if not (gpus := visible_gpus()):
        yield "cpu"
        return
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    locks = {f"GPU {name}": lock_folder() / f"{uuid.replace('/', '_')}.lock" for name, uuid in gpus.items()}
    with hold_some(locks, most, holder or Holder(), on_wait) as held:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(name.removeprefix("GPU ") for name in held)
        try:
            yield "cuda:0"
        finally:
            if before is None:
                del os.environ["CUDA_VISIBLE_DEVICES"]
            else:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


@dataclass(frozen=True)
class OnRay:
    """Places of a Ray cluster: ``number`` of them; None: as many as it has GPUs, or CPUs if it has no GPU."""

    number: int | None = None


def wanted_workers() -> int | OnRay | None:
    """``$ICD_WORKERS``: a number of processes of this machine, or ``ray`` or ``ray:8``. Raises ``UserError``."""
    if not (setting := os.environ.get("ICD_WORKERS")):
        return None
    engine, colon, number = setting.partition(":")
    if engine == "ray" and not colon:
        return OnRay()
    if (found := number_in(number if engine == "ray" else setting, _MOST_WORKERS)) is not None:
        return OnRay(found) if engine == "ray" else found
    raise UserError(
        f"ICD_WORKERS is {brief(setting)}; set it to a number of processes, 1 to {_MOST_WORKERS}, or to ray or "
        "ray:8."
    )


def most_workers() -> int:
    """How many processes of this machine may share a step's questions to a model: as many as are wanted, or as
    there are GPUs."""
    wanted = wanted_workers()
    return wanted if isinstance(wanted, int) else max(1, len(visible_gpus()))


def places(device: str) -> list[dict[str, str]] | OnRay:
    """Who may share a step's work: on this machine the environment of each process, one per GPU that :func:`lease`
    holds, or ``$ICD_WORKERS`` on a CPU, among whom its cores are shared; or a Ray cluster."""
    if isinstance(wanted := wanted_workers(), OnRay):
        return wanted
    if device == "cpu":
        own: list[dict[str, str]] = [{} for _ in range(most_workers())]
    else:
        own = [{"CUDA_VISIBLE_DEVICES": name} for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
    threads = max(1, (os.cpu_count() or 1) // len(own))
    return [{"ICD_THREADS": os.environ.get("ICD_THREADS") or str(threads)} | gpu for gpu in own]
