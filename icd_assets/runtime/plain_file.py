"""Files of anyone's: opened only where a regular file stands, and without waiting, whatever stands there."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "it is a pipe, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
    stat.S_IFDIR: "it is a folder, not a file",
}


def open_plain(path: Path, most: int | None = None) -> BufferedReader:
    """The file, open for reading, of at most ``most`` bytes; raises as :func:`require_plain`."""
    _require_plain(path, path.stat(), most)  # before it is opened: that alone can do something to a device
    # Whatever stands there by now, opening and reading it does not wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    try:
        _require_plain(path, os.fstat(descriptor), most)
    except OSError:
        file.close()
        raise
    return file


def require_plain(path: Path) -> None:
    """An ``OSError`` that says in ``strerror`` what stands there instead: a pipe, a device, a folder, nothing."""
    _require_plain(path, path.stat(), None)


def in_words(error: OSError) -> str:
    """Why a file cannot be read, as part of a sentence."""
    return "there is no such file" if isinstance(error, FileNotFoundError) else str(error.strerror or error)


def _require_plain(path: Path, status: os.stat_result, most: int | None) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        code = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(code, _KINDS.get(kind, "it is no regular file"), str(path))
    if most is not None and status.st_size > most:
        raise too_large(path, status.st_size, most)


def too_large(path: Path, size: int, most: int) -> OSError:
    return OSError(
        errno.EFBIG, f"it has {size / 2**20:,.1f} MiB, of which at most {most >> 20} are read", str(path)
    )
