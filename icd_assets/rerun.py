"""Running a cell again by itself: with the settings it was trained with, and only if something outside changed.

A schedule or a sensor has no user who types settings. Those of the artifacts on disk are taken, so that a run
whose inputs are unchanged finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icd_assets.catalog import Catalog
from icd_assets.cell import Cell
from icd_assets.digests import sha256_json
from icd_assets.errors import UserError
from icd_assets.experiment import Experiment, MissingInput
from icd_assets.manifest import Manifest
from icd_assets.pipeline import STEP, STEPS, Shared, own_fields
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.settings import Settings, assigned
from icd_assets.store import Store
from icd_assets.wants import want


def chosen(root: Path, catalog: Catalog, keys: list[str], assignments: dict[str, Any]) -> Iterator[Experiment]:
    """The cells of an automation: those named, each with the settings of its artifacts, or every trained one.

    ``assignments`` are ``{"asset.field": value}``, stronger than what the artifacts were made with. A cell
    trained under several rewards comes once for each.
    """
    trained = list(_trained(root, catalog))
    named = [Cell.parse(key) for key in keys]
    fresh = [cell for cell in named if cell not in {experiment.cell for experiment in trained}]
    for experiment in trained:
        if not named or experiment.cell in named:
            settings = assigned(experiment.settings, assignments)
            yield Experiment.open(experiment.cell, settings, root, catalog)
    for cell in fresh:
        yield Experiment.open(cell, assigned(Settings(), assignments), root, catalog)


def changed_inputs(experiment: Experiment) -> dict[str, str]:
    """``asset.input`` → its digest now, for all from outside the results root (dataset files, a v2 checkpoint,
    weights) that is no longer what the artifact on disk was made from."""
    changed = {}
    for step in STEPS:
        if (manifest := experiment.manifest(step.name)) is None:
            continue
        try:
            wanted = want(experiment, step.name)
        except MissingInput:
            continue
        for name, given in wanted.inputs.items():
            if given.manifest is None and manifest.want.digests.get(name) != given.data_version:
                changed[f"{step.name}.{name}"] = given.data_version
    return changed


def rl_data_new_to_grpo(experiment: Experiment) -> str | None:
    """The version of RL data that no GRPO checkpoint on disk has learned from, or None."""
    rl_data, grpo = experiment.manifest("rl_data"), experiment.manifest("grpo_checkpoints")
    if rl_data is None or (grpo is not None and grpo.want.digests.get("rl_data") == rl_data.data_version):
        return None
    return rl_data.data_version


def _trained(root: Path, catalog: Catalog) -> Iterator[Experiment]:
    store = Store(root)
    for path in sorted(store.root.glob("*/model_cpk/v3_*/v2format_checkpoint.manifest.json")):
        manifests = _made_from(store, path)
        cell = Cell.parse(manifests["v2format_checkpoint"].cell)
        if cell not in catalog.cells:  # of a catalog overlay that is not in use today
            continue
        experiment = Experiment.open(cell, _settings(manifests), root, catalog)
        # An RCE checkpoint that is recommended does not lead to the GRPO beside it, which may be hours of work.
        for asset in ("grpo_checkpoints", "evaluation"):
            if (beside := experiment.manifest(asset)) is not None:
                manifests.setdefault(asset, beside)
        settings = _with_checkpoint(experiment, manifests, _settings(manifests))
        yield Experiment.open(cell, settings, root, catalog)


def _made_from(store: Store, path: Path) -> dict[str, Manifest]:
    """The manifest at ``path`` and those of everything that it was made from, by asset."""
    manifest = store.require(path, path.name.split(".")[0])
    found = {manifest.want.asset: manifest}
    for given in manifest.want.inputs.values():
        if given.manifest is not None and (store.root / given.manifest).is_file():
            found = _made_from(store, store.root / given.manifest) | found
    return found


def _with_checkpoint(experiment: Experiment, manifests: dict[str, Manifest], settings: Settings) -> Settings:
    """Name the imported v2 checkpoint where a look into its folder would not find it, or would find several."""
    if (v2 := manifests.get("v2_checkpoint")) is None or v2.origin != "imported":
        return settings
    used = experiment.store.resolve(v2.files[0])
    try:
        if experiment.importable_v2() is not None:
            return settings
    except UserError:
        pass
    return assigned(settings, {"v2_checkpoint.checkpoint": str(used)}) if used.is_file() else settings


def _settings(manifests: dict[str, Manifest]) -> Settings:
    explicit: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    for asset, manifest in manifests.items():
        config = manifest.want.config
        explicit[asset] = {name: config[name] for name in own_fields(STEP[asset]) if name in config}
        shared |= {name: config[name] for name in Shared.model_fields if name in config}
    if "v2_checkpoint" in explicit:
        explicit["v2_checkpoint"]["source"] = "auto"  # a checkpoint that the user adds is heard
    if (v2format := manifests.get("v2format_checkpoint")) is not None:
        explicit["v2format_checkpoint"]["source"] = v2format.facts["phase"]
    reward = manifests["rce_checkpoints"].want.config["reward"] if "rce_checkpoints" in manifests else {}
    return Settings(shared=Shared(**shared), reward=RewardSettings(**reward), explicit=explicit)


def digest_of(changed: dict[str, str]) -> str:
    """Names one set of changes, so that each is asked for once."""
    return sha256_json(changed)[:16]
