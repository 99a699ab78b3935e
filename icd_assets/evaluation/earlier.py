"""The evaluation that is about to be replaced stays, so that the new one can be compared with it.

``earlier/<when>_<version>/`` beside the evaluation holds its predictions, its comparison and its record. The
record is written last: a folder without one is half of a copy, and is written again. ``icd-assets prune`` removes
what is asked of it, and nobody else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from icd_assets.evaluation.predictions import NAME
from icd_assets.runtime.plain_file import open_plain
from icd_assets.store.atomic import write_atomic
from icd_assets.store.digests import sha256_file
from icd_assets.store.manifest import Manifest, read_manifest

EARLIER = "earlier"
RECORD = "manifest.json"  # no artifact's manifest: its name is not that of one
KEPT = (NAME, "comparison.json")
_LARGEST = 4 << 30  # bytes of a file of which no record says how large it is
_FOLDER = re.compile(r"\d{8}T\d{6}_\w{1,8}")


@dataclass(frozen=True, slots=True)
class Earlier:
    """An evaluation that was replaced."""

    folder: Path
    manifest: Manifest


def keep(folder: Path, manifest: Manifest, source: Path | None = None) -> Path | None:
    """Copy what lies in ``source``, by default ``folder`` itself; None where it is not what ``manifest`` says.

    Of one that is kept already only the record is written again: it is the last that was replaced.
    """
    source = source or folder
    if altered(source, manifest) is not None:
        return None
    when = re.sub("[^0-9T]", "", manifest.created_at.partition("+")[0])
    target = folder / EARLIER / f"{when}_{manifest.data_version[:8]}"
    same = (one for one in earlier(folder) if _identity(one.manifest) == _identity(manifest))
    if (kept := next((one for one in same if altered(one.folder, one.manifest) is None), None)) is not None:
        target = kept.folder
    else:
        for name in KEPT:
            with open_plain(source / name) as file:
                write_atomic(target / name, file)
    write_atomic(target / RECORD, (manifest.model_dump_json(indent=1) + "\n").encode())
    return target


def _identity(manifest: Manifest) -> tuple[str, str]:
    """What was answered, and of what it was made: not when."""
    return manifest.data_version, manifest.spec.digest


def earlier(folder: Path) -> list[Earlier]:
    """The whole ones beside the evaluation in ``folder``, the newest first."""
    found = []
    for record in sorted((folder / EARLIER).glob(f"*/{RECORD}")):
        try:
            manifest = read_manifest(record)
        except (OSError, ValueError):  # whoever names its folder is answered why
            continue
        if manifest.spec.asset == "evaluation" and all((record.parent / name).is_file() for name in KEPT):
            found.append(Earlier(record.parent, manifest))
    return sorted(found, key=lambda one: (one.manifest.created_at, one.folder.name), reverse=True)


def altered(folder: Path, manifest: Manifest) -> str | None:
    """Which of the files that are compared is not what the record says, in words; None if each is."""
    recorded = {Path(record.path).name: record for record in manifest.files}
    for path in (folder / name for name in KEPT):
        if not path.is_file():
            return f"{path} is not there"
        if (record := recorded.get(path.name)) is None:
            if path.stat().st_size > _LARGEST:
                return f"{path} is larger than any evaluation's"
            continue
        try:
            same = path.stat().st_size == record.size and sha256_file(path) == record.sha256
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        if not same:
            return f"{path} is no longer what evaluation wrote"
    return None


def is_part(path: Path) -> bool:
    """Whether a file has the name and the place of one of an earlier evaluation, whole or not."""
    folder = path.parent
    named = path.name in (*KEPT, RECORD) and _FOLDER.fullmatch(folder.name) is not None
    return named and folder.parent.name == EARLIER
