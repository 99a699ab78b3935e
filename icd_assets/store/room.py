"""Whether something can be written in a place: seen before anything is, and without writing it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.disk_errors import explain_os, unwritable
from icd_assets.runtime.foreign import printable
from icd_assets.store.names import longest_temporary

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes, as Linux has them


def require_room(files: Iterable[Path]) -> None:
    """:class:`UserError` for the first of ``files`` that could not be written, under its own name or under the
    longer one that it has until it is whole."""
    for path in files:
        longest = longest_temporary(path)
        if len(os.fsencode(longest.name)) > _LONGEST_NAME or len(os.fsencode(longest)) > _LONGEST_PATH:
            raise UserError(
                f"{printable(str(path))} would have a name too long for the disk to be written; shorten the names "
                "that it is made of."
            )
        require_folder(path.parent)


def require_folder(folder: Path) -> None:
    """:class:`UserError` where ``folder`` is none, or could not be made or written in."""
    there = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
    if not there.is_dir():
        in_the_way = explain_os(FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(there)), there)
        assert in_the_way is not None
        raise in_the_way
    if (problem := unwritable(there)) is not None:
        raise problem
