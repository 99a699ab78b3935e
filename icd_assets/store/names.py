"""The names of what the store puts beside artifacts: each is made here, and recognized here.

``x.json.manifest.json``
    The manifest of a complete artifact; with ``.pending`` or ``.previous`` after it, half of a commit.
``icd_assets/x.json``
    An artifact's file where a file of the user's has its place: theirs is never moved.
``x.json.kept-0123abcd``
    A file of ours that was changed since, moved aside; the number is the first of its digest.
``.x.json.77-78-0123abc.tmp``
    A file that process 77 is writing, in its thread 78; the last names the machine, since its boot, and the
    container that number processes so (older versions had none, or no thread).
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from icd_assets.runtime.process_record import absent, process_table

MANIFEST = ".manifest.json"
PRIVATE = ".icd_assets"  # the store's own folder in a results root
SEEDS = "seeds"  # in a results root: a results root for each other seed
BESIDE = "icd_assets"  # in a folder of Lever-Plus'
_HALVES = (".pending", ".previous")
_SET_ASIDE = re.compile(r".*\.kept-[0-9a-f]{8}")
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)(-\d+(-(?P<table>[0-9a-f]{7}))?)?\.tmp")
_OLD_SECONDS = 3600.0  # a temporary file lives for milliseconds, a large one for seconds


def manifest_beside(file: Path) -> Path:
    """Of an artifact that is one file, or known by its first."""
    return file.with_name(file.name + MANIFEST)


def manifest_in(folder: Path, asset: str) -> Path:
    """Of an artifact that shares its folder with others."""
    return folder / f"{asset}{MANIFEST}"


def is_manifest(path: Path) -> bool:
    return path.name.endswith(MANIFEST)


def pending_of(manifest: Path) -> Path:
    """The new manifest while its files are moved into place."""
    return manifest.with_name(manifest.name + _HALVES[0])


def previous_of(manifest: Path) -> Path:
    """The old manifest while its files are replaced."""
    return manifest.with_name(manifest.name + _HALVES[1])


def is_half_commit(path: Path) -> bool:
    return path.suffix in _HALVES and is_manifest(path.with_suffix(""))


def half_commits(root: Path) -> list[Path]:
    """The manifests whose commit was killed, anywhere under ``root``."""
    return sorted({path.with_suffix("") for path in _everything_in(root) if is_half_commit(path)})


def results_of_seed(root: Path, seed: int) -> Path:
    """The results root of another seed of the same cells: artifacts of two seeds never share a path."""
    return root / SEEDS / str(seed)


def shared_root(root: Path) -> Path:
    """The results root in which the one of a seed lies, whose answers and caches are shared; else ``root``."""
    above = root.parent.parent
    inside = root.parent.name == SEEDS and re.fullmatch("[0-9]+", root.name) is not None
    return above if inside and (above / PRIVATE).is_dir() else root


def _everything_in(root: Path) -> Iterator[Path]:
    """Files and folders under a results root, but for the roots of other seeds in it: they are not its own."""
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not Path(place, name, PRIVATE).is_dir())
        yield from (Path(place, name) for name in sorted([*names, *folders]))


def beside_the_users(file: Path) -> Path:
    return file.parent / BESIDE / file.name


def set_aside(file: Path, digest: str) -> Path:
    return file.with_name(f"{file.name}.kept-{digest[:8]}")


def is_set_aside(path: Path) -> bool:
    return _SET_ASIDE.fullmatch(path.name) is not None


def temporary(path: Path) -> Path:
    """What this thread writes before it becomes ``path``."""
    table = f"-{here}" if (here := _numbered_here()) is not None else ""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}{table}.tmp")


def longest_temporary(path: Path) -> Path:
    """A name as long as any that :func:`temporary` gives, in whatever process."""
    return path.with_name(f".{path.name}.{'9' * 7}-{'9' * 7}-{'0' * 7}.tmp")


def becomes(path: Path) -> str | None:
    """The name that a temporary file is to get; None if it is none."""
    found = _TEMPORARY.fullmatch(path.name)
    return found["name"] if found is not None else None


def is_abandoned(path: Path, seconds: float) -> bool:
    """Whether a temporary file, of this age, has no writer any more. That a process of another container or host
    has ended cannot be seen from here: it is taken for alive for an hour."""
    found = _TEMPORARY.fullmatch(path.name)
    if found is None or not absent(int(found["pid"])):
        return False
    return seconds > _OLD_SECONDS or (found["table"] is not None and found["table"] == _numbered_here())


def _numbered_here() -> str | None:
    """What numbers the processes that are seen from here, in seven letters: longer names would not all fit."""
    table = process_table()
    return hashlib.sha256(table.encode()).hexdigest()[:7] if table else None


def temporaries(root: Path) -> list[Path]:
    """All temporary files under ``root``."""
    return sorted(path for path in _everything_in(root) if becomes(path) is not None)


def is_ours(path: Path) -> bool:
    """Whether a file beside artifacts is none of them, but one of the above."""
    return is_manifest(path) or is_half_commit(path) or is_set_aside(path) or becomes(path) is not None
