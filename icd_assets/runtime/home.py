"""Dagster's home: where it is, and the ``.env`` file in it, which every process of ours reads.

The command line reads it before it reads flags and variables, and every Dagster process (the UI's code server, a
run, a step, ``dagster asset materialize``) when it imports the assets. A variable that is set already stays.
"""

from __future__ import annotations

import io
import os
import re
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.small_file import read_small_text
from icd_assets.runtime.user_path import expanded, require_folder, require_path

# The variables that were not set before the ``.env`` file was read: `icd-assets settings` says so.
FROM_ENV_FILE: set[str] = set()

_LARGEST_FILE = 1 << 18  # bytes of a .env
_LONGEST_VALUE = 1 << 16  # bytes; Linux starts no program with one of 128 KiB
_ALL_VALUES = 1 << 19  # bytes; Linux starts no program with some MiB of them
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"\$\{(?P<name>[^${}:]*)(?::-(?P<default>[^}]*))?\}")  # as python-dotenv's


def find_home() -> Path | None:
    """``DAGSTER_HOME``, else the folder that holds ``dagster.yaml``: this one or the nearest above it."""
    if named := os.environ.get("DAGSTER_HOME"):
        return local_folder(named, "DAGSTER_HOME")  # as Dagster reads it
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dagster.yaml").is_file()), None)


def local_folder(text: str, origin: str) -> Path:
    """The absolute path of a folder, which need not be there yet; what stands in its place is refused."""
    path = local_path(text, origin)
    require_folder(path, origin)
    return path


def local_path(text: str, origin: str) -> Path:
    """An absolute path of this machine; ``s3://…`` and its kind are refused: each would be a folder ``s3:``."""
    path = expanded(text, origin).absolute()
    require_path(str(path), origin)  # a relative one may be in a folder that has none
    return path


def load_env_file() -> None:
    """Add the variables of the home's ``.env`` to the environment; what is set already wins."""
    home = find_home()
    if home is None:
        return
    path = home / ".env"
    if (path / "pyvenv.cfg").is_file():  # a virtual environment of Python has its place here, too
        return
    try:
        text = read_small_text(path, _LARGEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"{path} cannot be read as text ({why}); fix it, or move it away.") from None
    found = parse_env(text, path, os.environ)
    new = {name: value for name, value in found.items() if name not in os.environ}
    os.environ.update(new)
    FROM_ENV_FILE.update(new)


def parse_env(text: str, path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a ``.env`` file's text; ``${NAME}`` in a value is ``environment``'s, else one above it.

    Raises ``UserError`` with the line for all that is no ``NAME=value`` which a process can be given.
    """
    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    known = ChainMap(dict(environment), found)
    total = 0
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string  # begins with the blank lines before it
        line = binding.original.line + original[: len(original) - len(original.lstrip())].count("\n")
        if not binding.error and binding.key is None:
            continue  # a comment, a blank line
        if binding.error or binding.key is None or binding.value is None or "\0" in binding.value:
            raise UserError(f"{path}: line {line} is not NAME=value; fix that line.")
        if _NAME.fullmatch(binding.key) is None:
            raise UserError(
                f"{path}: line {line} sets {brief(binding.key)}, which is no name of a variable; fix that line."
            )
        value = _interpolated(binding.value, known)
        if value is None:
            raise UserError(
                f"{path}: line {line}: the value of {brief(binding.key)} has more than {_LONGEST_VALUE >> 10} "
                "KiB; fix that line."
            )
        total += len(value.encode("utf-8", "surrogateescape"))
        if total > _ALL_VALUES:
            raise UserError(
                f"{path}: up to line {line} the values have more than {_ALL_VALUES >> 10} KiB, with which no "
                "program can be started; fix that line."
            )
        found[binding.key] = value
    return found


def _interpolated(value: str, known: Mapping[str, str]) -> str | None:
    """``value`` with its variables replaced; None if it becomes too long."""
    if len(value) > _LONGEST_VALUE:
        return None
    parts, at, length = [], 0, 0
    end = value.rfind("}") + 1  # a variable that never ends is not looked for again and again
    for match in _VARIABLE.finditer(value, 0, end):
        default = match["default"] or ""
        parts += [value[at : match.start()], known.get(match["name"], default)]
        length += len(parts[-2]) + len(parts[-1])
        at = match.end()
        if length > _LONGEST_VALUE:
            return None
    text = "".join([*parts, value[at:]])
    return text if len(text.encode("utf-8", "surrogateescape")) <= _LONGEST_VALUE else None
