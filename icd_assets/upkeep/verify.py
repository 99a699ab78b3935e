"""Everything under a results root read again: what rotted, what is orphaned, what is half-written."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from icd_assets.evaluation.earlier import altered
from icd_assets.lineage.records import Records
from icd_assets.runtime.progress import OnProgress
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest, data_version
from icd_assets.store.store import Store
from icd_assets.upkeep.leftovers import kept_evaluations, leftovers, working
from icd_assets.upkeep.sqlite_files import damage


@dataclass
class Findings:
    """Sentences and paths. Only ``rotted`` is damage; the rest is there to be known, and to be pruned."""

    files: int = 0
    folders: dict[str, int] = field(default_factory=dict)  # how many of them, by their manifest's folder
    bytes: int = 0
    pruned: int = 0
    rotted: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    working: list[str] = field(default_factory=list)


def verify(
    store: Store, cells: Collection[str], on_progress: OnProgress, *, places: Collection[str] | None = None
) -> Findings:
    """All artifacts, or those of ``cells``; without ``cells`` also all that lies beside them. ``places``: only
    those whose manifest lies there, relative to the results root.

    ``store`` must be opened with ``rehash``, or a change behind an unchanged size and mtime is not seen. Progress
    counts bytes.
    """
    records, found = Records(store), Findings()
    chosen = {
        place: m
        for place, m in records.live.items()
        if (not cells or m.cell in cells) and (places is None or place in places)
    }
    total = sum(record.size for manifest in chosen.values() for record in manifest.files)
    committed: dict[str, list[Manifest]] = {}
    for copy in records.past:
        committed.setdefault(copy.build, []).append(copy)
    with store.digests.at_once():
        for place, manifest in chosen.items():
            path, folder = store.root / place, str(Path(place).parent)
            found.rotted += _contradictions(path, manifest) or _edited(
                path, manifest, committed.get(manifest.build, []), store
            )
            for record in manifest.files:
                if (problem := store.rot(record, manifest.spec.asset)) is not None:
                    found.rotted.append(f"{problem} ({manifest.cell})")
                there = store.resolve(record).is_file()
                found.files += there
                found.folders[folder] = found.folders.get(folder, 0) + there
                found.pruned += record.pruned is not None and not there
                found.bytes += record.size
                on_progress(found.bytes, total)
        if not cells:
            _beside(records, found)
    return found


def _contradictions(path: Path, manifest: Manifest) -> list[str]:
    """A manifest that was edited: its digests are over what it says itself."""
    if manifest.data_version != data_version(manifest.files):
        return [f"{path}: its data version is not that of the files it names"]
    if manifest.config_digest != sha256_json(manifest.spec.config):
        return [f"{path}: its config digest is not that of the config it holds"]
    return []


def _edited(path: Path, manifest: Manifest, committed: list[Manifest], store: Store) -> list[str]:
    """A manifest that is no longer what was committed, in fields over which there is no digest. One without a copy
    (its writer was killed just before, or the history was not taken along) is not judged."""
    copies = [_unpruned(copy) for copy in committed]
    if not copies or (here := _unpruned(manifest)) in copies:
        return []
    copy = next((copy for copy in copies if copy.data_version == here.data_version), copies[-1])
    fields = ", ".join(
        field.alias or name  # as it stands in the file
        for name, field in Manifest.model_fields.items()
        if getattr(here, name) != getattr(copy, name)
    )
    return [f"{path}: its {fields} differs from what was committed and is kept as {store.copy_of(copy)}"]


def _unpruned(manifest: Manifest) -> Manifest:
    """Without the one thing that is written into it later."""
    files = [record.model_copy(update={"pruned": None}) for record in manifest.files]
    return manifest.model_copy(update={"files": files})


def _beside(records: Records, found: Findings) -> None:
    store = records.store
    for manifest in records.past:
        path = store.copy_of(manifest)
        found.rotted += _contradictions(path, manifest)
        if not path.is_file():
            found.rotted.append(f"{path.parent}: holds a manifest under another name than {path.name}")
    found.rotted += [f"{path}: {problem}" for path, problem in records.broken.items()]
    for one in kept_evaluations(store):
        if (problem := altered(one.folder, one.manifest)) is not None:
            found.rotted.append(f"{problem} (earlier, {one.manifest.cell})")
    found.rotted += _caches(store)
    found.working = working(store)
    for left in leftovers(records):
        getattr(found, left.kind).append(str(left.path))


def _caches(store: Store) -> list[str]:
    """Answers and features have checksums of their own."""
    from icd_assets.pools.features import sound  # which imports NumPy

    problems = []
    if store.digests.path.is_dir():
        problems.append(f"{store.digests.path} is a folder, so no digest is remembered; move it away")
    answers = store.answers
    if answers.is_file() and (problem := _database(answers)) is not None:
        problems.append(problem)
    for path in sorted(store.private.glob("features/*/*.json")):
        try:
            whole = sound(path.with_name(path.name.removesuffix(".json")), store.digests)
        except OSError as error:
            problems.append(f"{path} or its .npy files cannot be read ({error.strerror})")
            continue
        except ValueError:
            whole = False
        if not whole:
            problems.append(f"{path}: its .npy files are not those written; delete it, and they are made again")
    return problems


def _database(path: Path) -> str | None:
    """What is wrong with the store of answers."""
    try:
        problem = damage(path)
    except sqlite3.OperationalError as error:
        return f"{path} cannot be read ({error})"
    return None if problem is None else f"{path}: {problem}; move it away, and answers are asked for again"
