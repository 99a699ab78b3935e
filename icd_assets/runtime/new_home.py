"""A folder becomes Dagster's home: the instance's settings, where the assets are, and a ``.env`` to fill in."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.small_file import read_small

# File of a home → its text in this package. A name with a dot in front would be lost by some packaging tools.
_FILES = {"dagster.yaml": "dagster.yaml", "workspace.yaml": "workspace.yaml", ".env": "env.txt"}


def write_home(folder: Path) -> list[Path]:
    """Write what a home lacks and return it; files that hold something are the user's and stay as they are."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in _FILES.items():
            path = folder / name
            if path.exists() and read_small(path).strip():
                continue
            text = (files("icd_assets.runtime") / "home_files" / source).read_text(encoding="utf-8")
            with path.open("w" if path.exists() else "x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            written.append(path)
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be written ({error.strerror}).") from None
    return written
