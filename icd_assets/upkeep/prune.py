"""Removing what no kept checkpoint needs. What is removed is recorded, so that it is not made again for nothing.

Never removed: the last epoch (GRPO starts from RCE's, the evaluation reads it, and by default it becomes the
v2-format file), the epoch that became the v2-format file, any epoch of a training that is not whole, RL data and
all else that an artifact names; a file whose manifest was damaged or lost rather than replaced; what a user
imported, adopted, changed or put there; anything whose real place is outside the results root. Evaluations that
were replaced are removed where that is asked for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, assert_never

from icd_assets.errors import UserError
from icd_assets.evaluation.earlier import KEPT, Earlier
from icd_assets.evaluation.earlier import RECORD as RECORD_OF_EARLIER
from icd_assets.lineage.records import Records
from icd_assets.runtime.foreign import brief
from icd_assets.store.atomic import write_atomic
from icd_assets.store.manifest import FileRecord, Manifest
from icd_assets.store.names import MANIFEST
from icd_assets.store.store import Store
from icd_assets.upkeep.leftovers import kept_evaluations, leftovers, working

TRAINED = ("rce_checkpoints", "grpo_checkpoints")
_UNFINISHED_DAYS = 7  # so long an interrupted step may be meant to go on
RECORD = "pruned.jsonl"  # beside the history: what was removed that no manifest names

Keep = Literal["best", "last"] | int


@dataclass(frozen=True)
class Removal:
    """One file or folder, why nothing needs it, and the artifact whose manifest will say that it was pruned."""

    path: Path
    size: int
    why: str
    place: Path | None = None
    record: FileRecord | None = None


def removals(
    store: Store,
    keep: Keep,
    *,
    older_than: timedelta | None = None,
    cells: Collection[str] = (),
    keep_earlier: int | None = None,
    now: datetime | None = None,
) -> tuple[list[Removal], list[str]]:
    """What would be removed, and sentences about what is left alone although it fits.

    keep: besides the epochs that are needed anyway, the best one, none, or the last so many.
    keep_earlier: of each experiment's evaluations that were replaced, the last so many; None: all.
    older_than: only of artifacts made, and leftovers touched, so long ago; default: any artifact, and leftovers of
    a week. cells: only their epochs, and no leftovers.
    """
    now = now or datetime.now(UTC)
    records, found, alone = Records(store), list[Removal](), list[str]()
    for place, manifest in records.live.items():
        if manifest.spec.asset in TRAINED and manifest.origin == "made" and (not cells or manifest.cell in cells):
            if older_than is not None and now - datetime.fromisoformat(manifest.created_at) < older_than:
                continue
            if (who := store.writer(store.root / place)) is not None:
                alone.append(f"{manifest.spec.asset} of {manifest.cell} is being made by {who}")
                continue
            if (problem := store.damage(manifest)) is not None:  # which epochs are needed is not known any more
                alone.append(f"{manifest.spec.asset} of {manifest.cell}: {problem}")
                continue
            try:
                found += list(_epochs(store, store.root / place, manifest, keep, _converted(records, manifest)))
            except UserError as error:  # which epochs are needed is not known
                alone.append(f"{manifest.spec.asset} of {manifest.cell}: {error}")
    if keep_earlier is not None:
        found += _earlier(store, keep_earlier, cells, None if older_than is None else now - older_than)
    if not cells:
        age = older_than or timedelta(days=_UNFINISHED_DAYS)
        if busy := working(store):
            alone += [f"unfinished work is left alone while {who} is at work" for who in busy]
        found += [
            one
            for one in _leftovers(records, bool(busy))
            if now.timestamp() - _touched(one.path) >= age.total_seconds()
        ]
    outside = [one for one in found if not _inside(one.path, store)]
    alone += [f"what {path.name} names: it cannot be read" for path in records.broken]
    alone += [f"{one.path} lies outside the results root, behind a link" for one in outside]
    return [one for one in found if one not in outside], alone


def prune(store: Store, chosen: Sequence[Removal], now: datetime | None = None) -> int:
    """Remove what :func:`removals` found, as far as it is still so; returns the bytes that were freed.

    A manifest says that a file was pruned before the file goes: killed in between, nothing is missed.
    """
    at = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    freed = 0
    for place in dict.fromkeys(one.place for one in chosen if one.place is not None):
        freed += _prune_epochs(store, place, [one for one in chosen if one.place == place], at)
    for one in chosen:
        if one.place is None and _inside(one.path, store) and one.path.exists():
            if one.record is not None and not store.is_own(one.record):
                continue
            _note(store, one, at)
            shutil.rmtree(one.path) if one.path.is_dir() else one.path.unlink()
            freed += one.size
    return freed


def _prune_epochs(store: Store, place: Path, chosen: Sequence[Removal], at: str) -> int:
    with store.lock(place):
        manifest = store.read(place)
        if manifest is None or store.damage(manifest) is not None:
            return 0
        going = [
            record
            for record in manifest.files
            if any(one.record == record for one in chosen) and store.is_own(record)
        ]
        files = [
            record.model_copy(update={"pruned": at}) if record in going else record for record in manifest.files
        ]
        marked = manifest.model_copy(update={"files": files})
        write_atomic(place, (marked.model_dump_json(indent=1) + "\n").encode())
        for record in going:
            store.remove_own(record)
    return sum(record.size for record in going)


def _epochs(store: Store, place: Path, manifest: Manifest, keep: Keep, converted: set[str]) -> Iterator[Removal]:
    files = manifest.files
    needed = {len(files)}
    match keep:
        case "best":
            needed.add(_best_epoch(manifest))
        case "last":
            pass
        case int():
            needed |= set(range(len(files) - keep + 1, len(files) + 1))
        case _:
            assert_never(keep)
    phase = manifest.spec.asset.partition("_")[0].upper()
    for number, record in enumerate(files, start=1):
        if number not in needed and Path(record.path).name not in converted and store.is_own(record):
            why = f"{phase} epoch {number} of {len(files)} of {manifest.cell}"
            yield Removal(store.resolve(record), record.size, why, place, record)


def _best_epoch(manifest: Manifest) -> int:
    best = manifest.fact("best_epoch")
    if not isinstance(best, int):
        whose = f"the manifest of {manifest.spec.asset} of {manifest.cell}"
        raise UserError(f"{whose} has {brief(best)} as its best epoch; make it again, or give --keep last.")
    return best


def _earlier(store: Store, keep: int, cells: Collection[str], since: datetime | None) -> Iterator[Removal]:
    """What was replaced, but for the last of each experiment; ``since``: what was made later stays."""
    experiments: dict[Path, list[Earlier]] = {}
    for one in kept_evaluations(store):  # the newest first
        experiments.setdefault(one.folder.parent, []).append(one)
    for one in (one for found in experiments.values() for one in found[keep:]):
        made, own = one.manifest.created_at, {*KEPT, RECORD_OF_EARLIER}
        if since is not None and datetime.fromisoformat(made) > since:
            continue
        if (not cells or one.manifest.cell in cells) and {path.name for path in one.folder.iterdir()} == own:
            why = f"an evaluation of {one.manifest.cell} that was replaced, made {made}"
            yield Removal(one.folder, _size(one.folder), why)


def _converted(records: Records, trained: Manifest) -> set[str]:
    """The epochs of this training that became a v2-format file."""
    return {
        str(manifest.fact("source"))
        for manifest in [*records.live.values(), *records.unreadable]
        if manifest.spec.asset == "v2format_checkpoint"
        and manifest.spec.digests.get(trained.spec.asset) == trained.data_version
    }


def _leftovers(records: Records, busy: bool) -> Iterator[Removal]:
    store = records.store
    for left in leftovers(records):
        if left.kind == "orphaned" and left.replaced:
            yield Removal(
                left.path, _size(left.path), "ours, and no manifest names it any more", None, left.record
            )
        elif left.kind == "unfinished" and not busy and f"{MANIFEST}." not in left.path.name:
            yield Removal(left.path, _size(left.path), "of a step or a write that was interrupted")
    encoders = {
        digest[:16]
        for manifest in records.live.values()
        for name, digest in manifest.spec.digests.items()
        if name == "sampler_encoder"
    }
    for folder in sorted(store.private.glob("features/*")):
        if folder.name not in encoders and not busy:
            yield Removal(folder, _size(folder), "features of an encoder that no artifact was made with")


def _note(store: Store, one: Removal, at: str) -> None:
    line: dict[str, Any] = {
        "at": at,
        "path": str(one.path.relative_to(store.root)),
        "size": one.size,
        "why": one.why,
    }
    if one.record is not None:
        line["sha256"] = one.record.sha256
    store.history.mkdir(parents=True, exist_ok=True)
    with (store.history / RECORD).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _inside(path: Path, store: Store) -> bool:
    """Its real place, whatever links lead there."""
    return path.resolve().is_relative_to(store.root.resolve())


def _size(path: Path) -> int:
    return sum(p.lstat().st_size for p in (path.rglob("*") if path.is_dir() else [path]) if not p.is_dir())


def _touched(path: Path) -> float:
    return max(p.lstat().st_mtime for p in [path, *(path.rglob("*") if path.is_dir() else [])])
