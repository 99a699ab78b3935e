"""Files that are whole or not there, also after the power was cut."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from icd_assets.store import names


def write_atomic(path: Path, content: bytes | BinaryIO) -> None:
    """Write, fsync, rename: a reader sees the old file or the new one, never half of it."""
    make_folder(path.parent)
    with replacing(path) as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            shutil.copyfileobj(content, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    fsync(path.parent)


@contextmanager
def replacing(path: Path, *, one_of_hundreds: bool = False) -> Iterator[BinaryIO]:
    """A file to write that becomes ``path`` if all went well, and is gone if not (a full disk, say).

    Whoever cannot do without it after a power cut fsyncs it; a cache costs time to lose, not truth. Processes
    and threads may write the same path at once; the last one wins. What killed ones left goes first, but beside
    ``one_of_hundreds``: each would read the whole folder for it.
    """
    temporary = names.temporary(path)
    try:
        with temporary.open("wb") as file:
            if not one_of_hundreds:
                _remove_abandoned(path, os.fstat(file.fileno()).st_mtime)
            yield file
        _replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _replace(temporary: Path, path: Path) -> None:
    """Whatever stands in the place goes, but for a folder that holds something: that is somebody's."""
    try:
        temporary.replace(path)
    except IsADirectoryError:
        try:
            path.rmdir()
        except OSError:
            why = "a folder that holds files stands in its place; move that away"
            raise OSError(errno.EISDIR, why, str(path)) from None
        temporary.replace(path)


def _remove_abandoned(path: Path, now: float) -> None:
    """What writers of ``path`` that were killed left beside it, while others may be at it. ``now`` is by the clock
    that dates these files: a server's may differ from ours."""
    with suppress(OSError), os.scandir(path.parent) as entries:
        for other in [Path(entry) for entry in entries if entry.name.startswith(f".{path.name}.")]:
            if names.becomes(other) == path.name:
                with suppress(OSError):  # another removes it just now, or it is a folder, which we never make
                    if names.is_abandoned(other, now - other.lstat().st_mtime):
                        other.unlink()


def remove_torn(path: Path) -> None:
    """What writers of ``path`` that were killed left beside it. Nobody may be writing it meanwhile."""
    for other in sorted(path.parent.glob(".*.tmp")):
        if names.becomes(other) == path.name:
            clear(other)


def clear(path: Path) -> None:
    """Remove what is ours to remove, a folder with all in it; a link, not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


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
