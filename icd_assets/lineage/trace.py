"""Which artifact of a kind lies behind another, by a handful of reads: for a run that has just ended."""

from __future__ import annotations

from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.experiment.steps import STEP
from icd_assets.lineage.records import produced
from icd_assets.store.manifest import Input, Manifest
from icd_assets.store.store import Store

_ORDER = {name: index for index, name in enumerate(STEP)}


def trace(store: Store, manifest: Manifest, asset: str) -> Input | None:
    """The ``asset`` that ``manifest`` was made from, directly or not: as it was consumed, not as it is now.

    The latest step is followed first: an evaluation's RL data are those of the checkpoint that it recommends.
    """
    if (given := manifest.spec.inputs.get(asset)) is not None:
        return given
    # Only what comes earlier in the pipeline: manifests that name each other cannot lead round in circles.
    at = _ORDER.get(manifest.spec.asset, 0)
    earlier = [name for name in manifest.spec.inputs if name in STEP and _ORDER[name] < at]
    for name in sorted(earlier, key=lambda name: _ORDER[name], reverse=True):
        made = consumed(store, name, manifest.spec.inputs[name])
        if made is not None and (found := trace(store, made, asset)) is not None:
            return found
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
