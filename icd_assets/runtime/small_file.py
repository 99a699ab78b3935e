"""One reader for every small file: manifests, caches, notes, settings. Anyone may have put anything in its place.

What is no regular file (a pipe waits for ever, a device has no end) or larger than such a file ever is raises an
``OSError`` that says so in ``strerror``, as one that is not there or not to be read does; what is no text or no
JSON of ordinary depth and finite numbers raises a ``ValueError``.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

SMALL = 32 << 20  # bytes; as parsed JSON they take up to twenty times that
_KINDS = {
    stat.S_IFIFO: "it is a pipe, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
    stat.S_IFDIR: "it is a folder, not a file",
}


def open_plain(path: Path, most: int | None = None) -> BufferedReader:
    """A regular file to read, of at most ``most`` bytes."""
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


def read_small(path: Path, most: int = SMALL) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes."""
    with open_plain(path, most) as file:
        content = file.read(most + 1)  # it may be growing
    if len(content) > most:
        raise _too_large(path, len(content), most)
    return content


def read_small_text(path: Path, most: int = SMALL) -> str:
    """The same as UTF-8 text, with or without its mark, newlines as they are."""
    return read_small(path, most).decode("utf-8-sig")


def read_small_json(path: Path, most: int = SMALL) -> Any:
    """The same as JSON, of finite numbers."""
    return parse_json(read_small_text(path, most))


def parse_json(text: str) -> Any:
    """JSON of ordinary depth and finite numbers; a ``ValueError`` for any other."""
    try:
        return json.loads(text, parse_float=finite_number, parse_constant=finite_number)
    except RecursionError:
        raise ValueError("lists within lists, deeper than any file of ours") from None


def finite_number(text: str) -> float:
    """A ``ValueError`` for one that is NaN, or beyond every float."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _require_plain(path: Path, status: os.stat_result, most: int | None) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        code = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(code, _KINDS.get(kind, "it is no regular file"), str(path))
    if most is not None and status.st_size > most:
        raise _too_large(path, status.st_size, most)


def _too_large(path: Path, size: int, most: int) -> OSError:
    return OSError(
        errno.EFBIG, f"it has {size / 2**20:,.1f} MiB, of which at most {most >> 20} are read", str(path)
    )
