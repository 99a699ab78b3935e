"""Which artifact of a kind lies behind another, by a handful of reads: for a run that has just ended."""

from __future__ import annotations

from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.lineage.records import produced
from icd_assets.pipeline import STEP
from icd_assets.store import Input, Manifest, Store


def trace(store: Store, manifest: Manifest, asset: str) -> Input | None:
    """The ``asset`` that ``manifest`` was made from, directly or not: as it was consumed, not as it is now."""
    waiting, seen = [manifest], set()
    while waiting:
        at = waiting.pop(0)
        if (given := at.want.inputs.get(asset)) is not None:
            return given
        for name, given in at.want.inputs.items():
            if name in STEP and (name, given.data_version) not in seen:
                seen.add((name, given.data_version))
                if (found := consumed(store, name, given)) is not None:
                    waiting.append(found)
    return None


def consumed(store: Store, name: str, given: Input) -> Manifest | None:
    """The manifest of exactly what was consumed: the one on disk, or one that was replaced since."""
    paths = [] if given.manifest is None else [store.root / given.manifest]
    if given.data_version.isalnum():
        paths += sorted(store.history.glob(f"{name}/{given.data_version}-*.json"))
    found = (_read(store, path) for path in paths)
    same = [one for one in found if one is not None and produced(name, one) == given.data_version]
    exact = [manifest for manifest in same if manifest.run_id == given.run_id]
    return next(iter(exact or same), None)


def _read(store: Store, path: Path) -> Manifest | None:
    try:
        return store.read(path)
    except UserError:  # a broken manifest tells nothing; `icd-assets verify` names it
        return None
