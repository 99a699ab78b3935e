"""A look into a results folder that trusts nothing in it: links that lead out, pipes and devices are named."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.store.names import BESIDE, is_ours

_MOST = 200_000  # files; a results folder of a hundred cells holds some thousand
# Besides what is ours: unfinished and set aside by whoever, so no artifact.
_PASSED_OVER = re.compile(r".*(\.pending|\.previous|\.tmp|\.kept-.*)")


@dataclass(frozen=True, slots=True)
class Found:
    """A file; ``problem`` says why it cannot be read."""

    path: Path
    problem: str | None = None


def files_under(folder: Path, root: Path) -> Iterator[Found]:
    """Every file in ``folder``, in the order of its path. Linked folders are not followed."""
    inside = root.resolve()
    unread: list[OSError] = []
    count = 0
    for where, folders, names in os.walk(folder, onerror=unread.append):
        folders.sort()
        linked = [name for name in folders if (Path(where) / name).is_symlink()]
        folders[:] = [n for n in folders if n not in linked and n != BESIDE and not n.startswith(".")]
        for name in sorted([*names, *linked]):
            if name.startswith(".") or is_ours(Path(name)) or _PASSED_OVER.fullmatch(name):
                continue
            count += 1
            if count > _MOST:
                raise UserError(f"{folder} holds more than {_MOST} files; give the results folder itself.")
            path = Path(where) / name
            yield Found(path, _problem(path, inside))
    for error in unread:
        yield Found(Path(error.filename), f"cannot be read ({error.strerror})")


def _problem(path: Path, inside: Path) -> str | None:
    try:
        target = path.resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError) as error:  # a link to nowhere or to itself
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if not target.is_relative_to(inside):
        return "leads out of the results folder; put the file itself here"
    if path.is_symlink() and stat.S_ISDIR(mode):
        return "a link to a folder, which is not followed"
    if not stat.S_ISREG(mode):
        return "a pipe or a device, not a file"
    if not os.access(target, os.R_OK):
        return "cannot be read (permission denied)"
    return None
