"""Paths that users type, in variables, flags and catalogs: ``~`` is replaced, and what is no path is refused.

A path has to be one that can be written here, and that records, which are UTF-8, can hold.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief

LONGEST_NAME = 255  # bytes of one file's or folder's name, on every file system in use
_LONGEST_PATH = 4000  # bytes; Linux takes 4,095, and names of ours follow
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,40}):/")
_NUL = re.compile(r"\x00")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def expanded(path: str | Path, origin: str = "", *, one_line: bool = True) -> Path:
    """``path`` with ``~`` and ``~name`` replaced; ``origin`` names in a message what gave it.

    ``one_line``: no control character may be in it; a folder that a user has may be called anything.

    Raises ``UserError`` for what can be no path of this machine.
    """
    text = str(path)
    require_path(text, origin, one_line=one_line)
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = text.split("/", 1)[0]
        raise UserError(
            f"{_shown(text, origin)}: this machine knows no home folder of {brief(user)}; write the path out."
        ) from None


def require_path(text: str, origin: str = "", *, one_line: bool = True) -> None:
    """Raise ``UserError`` if ``text`` can be no path, or none that can be recorded and shown."""
    shown = _shown(text, origin)
    if (scheme := _ADDRESS.match(text)) is not None:  # it would be a folder of that name
        raise UserError(f"{shown} is no path of this machine ({scheme[1]}:); give one, or mount it.")
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(
            f"{shown} is not UTF-8, as records of paths are; give another path to the same place, such as a link "
            "with a plain name."
        ) from None
    if (control := (_CONTROL if one_line else _NUL).search(text)) is not None:
        raise UserError(f"{shown} holds {control[0]!r}, which no path of ours may; give another path.")
    if len(content) > _LONGEST_PATH:
        raise UserError(f"{shown} is a path of {len(content):,} bytes; at most {_LONGEST_PATH:,} are taken.")
    if (longest := max(map(len, content.split(os.sep.encode())))) > LONGEST_NAME:
        raise UserError(
            f"{shown} holds a name of {longest:,} bytes; a file or folder has at most {LONGEST_NAME}: shorten it."
        )


def require_folder(path: Path, origin: str) -> None:
    """Raise ``UserError`` unless ``path`` is a folder, or could become one; what it was set to names it."""
    shown = _shown(str(path), origin)
    for place in (path, *path.parents):
        try:
            mode = place.stat().st_mode
        except FileNotFoundError:
            if not place.is_symlink():
                continue  # what is not there yet is made
            what = "is a link to something that is not there"
        except NotADirectoryError:
            continue  # a file above it, which is named
        except PermissionError:
            return  # who reads or writes there says so
        except OSError as error:
            what = f"cannot be looked at ({error.strerror})"
        else:
            if stat.S_ISDIR(mode):
                return
            what = "is a file, not a folder" if stat.S_ISREG(mode) else "is a pipe or a device, not a folder"
        inside = "" if place == path else f": {brief(str(place))}"
        raise UserError(f"{shown}{inside} {what}; give the path of a folder.")


def _shown(text: str, origin: str) -> str:
    return f"{origin}={brief(text)}" if origin else f"the path {brief(text)}"
