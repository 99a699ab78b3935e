"""What a machine can do to a step, in one sentence each: a disk full, failing or not to be written, no memory."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

from icd_assets.errors import UserError

_TOO_LITTLE = 1 << 20
_GOES_ON = "then run again: it goes on from where it was"


def explain(error: BaseException, folder: Path) -> UserError | None:
    """The sentence for an error that the machine is to blame for, else None. ``folder`` is where was written."""
    cause: BaseException | None = error
    while cause is not None:
        if (sentence := _told(cause, folder)) is not None:
            return sentence
        cause = cause.__cause__ or cause.__context__
    return None


def _told(error: BaseException, folder: Path) -> UserError | None:
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return UserError(f"the memory does not suffice; end other programs or take smaller batches, {_GOES_ON}.")
    if isinstance(error, sqlite3.Error):
        return sqlite_told(error, folder)
    if not isinstance(error, OSError):
        return None
    path = Path(error.filename) if isinstance(error.filename, str) else folder  # write() does not say which
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(path)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"{path} may not be read or written ({error.strerror}); fix its permissions, {_GOES_ON}.")
    if error.errno == errno.ENOTDIR:
        return UserError(
            f"{path}: a part of this path is a file, not a folder; move it away or name another place."
        )
    if error.errno == errno.ENAMETOOLONG:
        return UserError(f"{path}: this name is too long for the disk; name another place.")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return UserError(f"too many files are open; raise the limit (ulimit -n), {_GOES_ON}.")
    return _disk_failed(path) if error.errno in (errno.EIO, errno.ESTALE) else None


def sqlite_told(error: sqlite3.Error, path: Path) -> UserError | None:
    """The same for an error of the database at ``path``."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the detail
    if code == sqlite3.SQLITE_FULL:
        return disk_full(path)
    if code == sqlite3.SQLITE_IOERR:  # so a full disk shows where SQLite maps memory
        free = shutil.disk_usage(_mount_point(path)).free
        return disk_full(path) if free < _TOO_LITTLE else _disk_failed(path)
    return None


def _disk_failed(path: Path) -> UserError:
    return UserError(f"{path}: the disk failed to read or write it; check the disk, {_GOES_ON}.")


def disk_full(path: Path) -> UserError:
    """Which file system is full (that of ``path``), and how much it has left."""
    mount = _mount_point(path)
    usage = shutil.disk_usage(mount)
    free, total = usage.free / 2**20, usage.total / 2**20
    return UserError(
        f"the disk is full: {mount} has {free:,.0f} of {total:,.0f} MiB free; free some space, {_GOES_ON}."
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
