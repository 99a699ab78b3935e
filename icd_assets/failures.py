"""What a machine can do to a step, each as one sentence: a full or a failing disk, too little memory."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from icd_assets.errors import UserError

_GOES_ON = "then run again: it goes on from where it was"


def told(error: BaseException, folder: Path) -> UserError | None:
    """The sentence for an error that the machine is to blame for, else None. ``folder`` is where was written."""
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return UserError(f"the memory does not suffice; end other programs or take smaller batches, {_GOES_ON}.")
    if not isinstance(error, OSError):
        return None
    path = Path(error.filename) if isinstance(error.filename, str) else folder
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(path)
    if error.errno == errno.EIO:
        return UserError(f"{path}: the disk failed to read or write it; check the disk, {_GOES_ON}.")
    return None


def disk_full(path: Path) -> UserError:
    """Which file system is full, and how much it has left."""
    mount = _mount_point(path)
    usage = shutil.disk_usage(mount)
    free, total = usage.free / 2**20, usage.total / 2**20
    return UserError(
        f"the disk is full: {mount} has {free:,.0f} of {total:,.0f} MiB free, and {path} could not be written; "
        f"free some space, {_GOES_ON}."
    )


def _mount_point(path: Path) -> Path:
    path = path.absolute()
    while not path.exists() or not path.is_mount():
        if path == path.parent:
            break
        path = path.parent
    return path


def _is_torch_out_of_memory(error: BaseException) -> bool:
    """A GPU's, or the CPU allocator's, which torch raises as a plain RuntimeError. Torch is not imported here."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
