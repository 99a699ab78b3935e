"""Folders that are written to: can they be, is their file system fit for it, is there room."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import Timeout

from icd_assets.runtime.finding import Finding, in_bytes
from icd_assets.runtime.locks import acquire, hold

# Locks on these are advisory at best, and SQLite's are known to fail: two writers would not see each other.
_REMOTE = ("nfs", "cifs", "smb", "9p", "sshfs", "lustre", "gpfs", "ceph", "glusterfs", "beegfs", "afs")
_MOUNTS = Path("/proc/self/mounts")


def place(subject: str, folder: Path, mounts: Path = _MOUNTS) -> Iterator[Finding]:
    """Whether files can be written, fsynced, renamed and locked in ``folder``, or where it will be made.

    Raises ``OSError`` where they cannot. Nothing is left behind.
    """
    there = nearest(folder)
    if there.exists() and not there.is_dir():
        yield Finding(
            subject, "problem", f"{there} is a file, not a folder", "move it away or name another folder"
        )
        return
    with tempfile.TemporaryDirectory(prefix=".icd-doctor-", dir=there) as name:
        probe = Path(name) / "a"
        with probe.open("wb") as file:
            file.write(b"probe")
            file.flush()
            os.fsync(file.fileno())
        probe.replace(Path(name) / "b")
        with hold(Path(name) / "lock", timeout=0):
            if not _locks_hold(Path(name) / "lock"):
                yield Finding(
                    subject,
                    "problem",
                    f"{there}: file locks have no effect there",
                    "take a folder on a local disk",
                )
    kind = file_system(there, mounts)
    new = "" if folder.exists() else " (will be made)"
    if kind.removeprefix("fuse.").startswith(_REMOTE):
        yield Finding(
            subject,
            "warning",
            f"{folder} lies on {kind}, whose locks SQLite and two writers cannot rely on",
            "take a folder on a local disk",
        )
    else:
        yield Finding(subject, "ok", f"{folder}{new}: writable, renames and locks work, file system {kind}")


def room(subject: str, folder: Path, needed: Mapping[str, int]) -> Iterator[Finding]:
    """Free space against what a run will write, in bytes by what it is."""
    free, total = shutil.disk_usage(nearest(folder)).free, sum(needed.values())
    parts = " + ".join(f"{name} {in_bytes(size)}" for name, size in needed.items())
    text = f"{in_bytes(free)} free; the run writes about {in_bytes(total)}" + (f" = {parts}" if parts else "")
    if free < total:
        yield Finding(subject, "problem", text, "free the disk, or set RESULT_DIR to another")
    elif free < 2 * total:
        yield Finding(subject, "warning", text, "little is left: free some more")
    else:
        yield Finding(subject, "ok", text)


def nearest(folder: Path) -> Path:
    """``folder``, or the nearest thing above it that exists."""
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))


def file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system of ``path``, from the longest mount point above it."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    real, best, kind = path.resolve(), Path(), "unknown"
    for line in lines:
        _, mounted, found, *_ = line.split(" ")
        point = Path(mounted.replace("\\040", " "))
        if real.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, found
    return kind


def _locks_hold(path: Path) -> bool:
    """Whether a second holder is turned away."""
    try:
        acquire(path, timeout=0).release()
        return False
    except Timeout:
        return True
