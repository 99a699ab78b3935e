"""Files that are whole or not there, also after the power was cut."""

from __future__ import annotations

import glob
import os
import threading
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Write, fsync, rename: a reader sees the old file or the new one, never half of it.

    Processes and threads may write the same path at once; the last one wins.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def remove_torn(path: Path) -> None:
    """What writers of ``path`` that were killed left beside it. Nobody may be writing it meanwhile."""
    for torn in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        torn.unlink()


def make_folder(path: Path) -> None:
    """``path`` and what is missing above it; each entry is on the disk when this returns."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Have a file's content, or a folder's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
