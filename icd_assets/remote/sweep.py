"""Removing from a remote what nothing there names any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from icd_assets.remote import layout
from icd_assets.remote.place import Place
from icd_assets.remote.shelf import Shelf
from icd_assets.remote.turns import pruning


@dataclass
class Sweep:
    """Names to remove, with their sizes; ``left_alone``: sentences."""

    names: dict[str, int] = field(default_factory=dict)
    left_alone: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(self.names.values())


def sweep(remote: Place, *, older_than: timedelta, dry_run: bool) -> Sweep:
    """Manifests that were replaced, and the files and lineage that only they named, put at least ``older_than``
    ago. What holds today, and all answers, stay. Where a manifest cannot be read no file is removed."""
    if dry_run:
        return _sweep(Shelf(remote), older_than)
    Shelf(remote).require_ours()
    with pruning(remote):
        found = _sweep(Shelf(remote), older_than)
        # Manifests first: at any moment a manifest that is there has its files.
        remote.delete(sorted(found.names, key=lambda name: not name.startswith(layout.MANIFESTS)))
    return found


def _sweep(shelf: Shelf, older_than: timedelta) -> Sweep:
    shelf.require_ours()
    remote, found = shelf.remote, Sweep()
    before = datetime.now(UTC) - older_than
    held = shelf.held
    if shelf.broken:
        found.left_alone = [*shelf.sentences(), "so nothing is removed: what it names cannot be known"]
        return found
    holding = {layout.version(one.place, one.number) for one in held.values()}
    needed = {layout.behind(one.manifest) for one in held.values()}
    needed |= {layout.blob(record.sha256) for one in held.values() for record in one.manifest.files}
    replaced, kept = [], set()
    for entry in remote.names(layout.MANIFESTS):
        if entry.name in holding:
            continue
        if entry.modified < before:
            replaced.append(entry)
        else:
            kept.add(entry.name)
    for name in kept:  # what a manifest names that stays, stays
        place = layout.place_of_version(name)
        one = shelf.at(*place) if place is not None else None
        if one is not None:
            needed |= {layout.behind(one.manifest), *(layout.blob(r.sha256) for r in one.manifest.files)}
    for prefix in (layout.BLOBS, layout.LINEAGE):
        replaced += [e for e in remote.names(prefix) if e.name not in needed and e.modified < before]
    found.names = {entry.name: entry.size for entry in replaced}
    return found
