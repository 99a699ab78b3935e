"""Dagster's home: where it is, and the ``.env`` file in it, which every process of ours reads.

The command line reads it before it reads flags and variables, and every Dagster process (the UI's code server, a
run, a step, ``dagster asset materialize``) when it imports the assets. A variable that is set already stays.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

from icd_assets.errors import UserError

# The variables that were not set before the ``.env`` file was read: `icd-assets settings` says so.
FROM_ENV_FILE: set[str] = set()


def find_home() -> Path | None:
    """``DAGSTER_HOME``, else the folder that holds ``dagster.yaml``: this one or the nearest above it."""
    if named := os.environ.get("DAGSTER_HOME"):
        return Path(named).expanduser().absolute()  # as Dagster reads it
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dagster.yaml").is_file()), None)


def local_path(text: str, origin: str) -> Path:
    """An absolute path of this machine; ``s3://…`` and its kind are refused: each would be a folder ``s3:``."""
    if (scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/", text)) is not None:
        raise UserError(f"{origin}={text} is no folder of this machine ({scheme[1]}:); give a path, or mount it.")
    return Path(text).expanduser().absolute()


def load_env_file() -> None:
    """Add the variables of the home's ``.env`` to the environment; what is set already wins."""
    home = find_home()
    if home is None or not (path := home / ".env").is_file():
        return
    from dotenv import load_dotenv
    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text ({error}); fix or remove it.") from None
    for binding in parse_stream(io.StringIO(text)):
        nameless = binding.key is not None and binding.value is None
        if binding.error or nameless or "\0" in (binding.value or ""):
            found = binding.original.string  # begins with the blank lines before it
            line = binding.original.line + found[: len(found) - len(found.lstrip())].count("\n")
            raise UserError(f"{path}: line {line} is not NAME=value; fix that line.")
    before = set(os.environ)
    load_dotenv(stream=io.StringIO(text), override=False)
    FROM_ENV_FILE.update(set(os.environ) - before)
