"""The files of a folder that may be a dataset's."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from icd_assets.datasets.table_file import FORMATS
from icd_assets.errors import UserError

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_MOST = 3_000_000  # files


@dataclass
class Folder:
    """``data``: files of a table's kinds; ``pictures``: the picture files of each folder that has some."""

    root: Path
    data: list[Path] = field(default_factory=list)
    pictures: dict[Path, list[str]] = field(default_factory=dict)

    def shown(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def look_into(root: Path) -> Folder:
    """Everything below ``root``, links followed once. Raises :class:`UserError` if there is nothing to read."""
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give the folder that holds the questions and the images.")
    found, seen, count = Folder(root), set[str](), 0
    for place, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        if (real := os.path.realpath(place)) in seen:
            folders[:] = []
            continue
        seen.add(real)
        count += len(files)
        if count > _MOST:
            raise UserError(f"{root} holds more than {_MOST} files; give the dataset's own folder.")
        folder = Path(place)
        files = sorted(name for name in files if not name.startswith("."))
        found.data += [
            folder / name for name in files if Path(name).suffix.lower() in FORMATS and (folder / name).is_file()
        ]
        if pictures := [name for name in files if Path(name).suffix.lower() in PICTURES]:
            found.pictures[folder] = pictures
    return found
