"""Large files of anyone's: opened only where a regular file stands."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from icd_assets.runtime import small_file


def require_plain_file(path: Path) -> None:
    """An ``OSError`` that says in ``strerror`` what stands there instead: a pipe, a device, a folder, nothing."""
    small_file._require_plain(path, path.stat(), sys.maxsize)


def open_plain_file(path: Path) -> BinaryIO:
    """The file, opened; raises as :func:`require_plain_file`, and never waits."""
    require_plain_file(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    try:
        small_file._require_plain(path, os.fstat(descriptor), sys.maxsize)
    except OSError:
        file.close()
        raise
    return file


def in_words(error: OSError) -> str:
    """Why a file cannot be read, as part of a sentence."""
    return "there is no such file" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
