"""What lies under a results root beside complete artifacts: half-written, orphaned, the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from icd_assets.evaluation import earlier
from icd_assets.lineage.records import FOLDERS, Records
from icd_assets.runtime.locks import held_by
from icd_assets.store import names
from icd_assets.store.manifest import FileRecord, Manifest
from icd_assets.store.store import Store

# unfinished: a step or a write that was interrupted · orphaned: we wrote it, no manifest has it any more
# kept: the user's, moved aside by us · foreign: never ours
Kind = Literal["unfinished", "orphaned", "kept", "foreign"]


@dataclass(frozen=True)
class Leftover:
    """``record`` is what our history knows of an orphaned file; ``replaced`` whether every artifact that it was of
    is there, made anew. If not, a manifest was lost, and the file may be hours of work."""

    kind: Kind
    path: Path
    record: FileRecord | None = None
    replaced: bool = False


def leftovers(records: Records) -> Iterator[Leftover]:
    """Every file of Lever-Plus' folders that no manifest claims, and what our own folder holds unfinished."""
    store = records.store
    standing = [*records.live.values(), *records.unreadable]
    claimed = {store.resolve(record) for manifest in standing for record in manifest.files}
    claimed |= {store.root / path for path in records.live} | set(records.broken)
    claimed |= {one.folder / name for one in kept_evaluations(store) for name in (*earlier.KEPT, earlier.RECORD)}
    ours = _once_ours(records.past)
    for path in _files(store.root):
        if path in claimed:
            continue
        yield _classified(path, ours.get(str(path.relative_to(store.root)), []), records)
    staging = store.private / "staging"
    torn = (path for path in names.temporaries(store.private) if staging not in path.parents)
    for path in sorted([*staging.glob("*"), *store.pulled.glob("*"), *torn]):
        yield Leftover("unfinished", path)


def kept_evaluations(store: Store) -> list[earlier.Earlier]:
    """The evaluations that were replaced, and stay."""
    folders = sorted(store.root.glob(f"*/icl_inference/*/{earlier.EARLIER}"))
    return [one for folder in folders for one in earlier.earlier(folder.parent)]


def working(store: Store) -> list[str]:
    """Who holds a lock right now: while somebody works, what looks unfinished may be theirs."""
    return [who for path in sorted(store.private.glob("locks/*.lock")) if (who := held_by(path)) is not None]


def _files(root: Path) -> Iterator[Path]:
    for kind in dict.fromkeys(pattern.split("/")[1] for pattern in FOLDERS):
        for folder in sorted(root.glob(f"*/{kind}")):
            for place, folders, found in os.walk(folder):  # never through a link to a folder
                folders.sort()
                yield from (Path(place, name) for name in sorted(found))


_Known = list[tuple[Manifest, FileRecord]]


def _once_ours(past: list[Manifest]) -> dict[str, _Known]:
    ours: dict[str, _Known] = {}
    for manifest in past:
        if manifest.origin == "made":
            for record in manifest.files:
                ours.setdefault(record.path, []).append((manifest, record))
    return ours


def _classified(path: Path, known: _Known, records: Records) -> Leftover:
    if names.is_set_aside(path):
        return Leftover("kept", path)
    if names.is_half_commit(path) or names.becomes(path) is not None or earlier.is_part(path):
        return Leftover("unfinished", path)
    known = [(m, record) for m, record in known if path.is_file() and path.stat().st_size == record.size]
    try:
        known = [(m, record) for m, record in known if records.store.is_own(record)]
    except PermissionError:  # whose it is cannot be known
        known = []
    if not known:
        return Leftover("foreign", path)
    return Leftover("orphaned", path, known[0][1], all(records.replaced(manifest) for manifest, _ in known))
