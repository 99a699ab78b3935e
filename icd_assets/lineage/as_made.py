"""Running a cell again by itself: with the settings it was trained with, and only if something outside changed.

A schedule or a sensor has no user who types settings. Those of the artifacts on disk are taken, so that a run
whose inputs are unchanged finds nothing to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Any

from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment import recipes
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.folder_name import split
from icd_assets.experiment.paths import v3_prefix
from icd_assets.experiment.recipes import STAGES
from icd_assets.experiment.settings import Settings, assigned
from icd_assets.experiment.spec import spec_of
from icd_assets.experiment.step_configs import Shared
from icd_assets.experiment.steps import STEP, STEPS, own_fields
from icd_assets.experiment.v2_source import importable_v2
from icd_assets.lineage.trace import consumed
from icd_assets.runtime.foreign import printable
from icd_assets.scoring.rewards import RewardSettings
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest
from icd_assets.store.names import MANIFEST, manifest_in
from icd_assets.store.store import Store

# What an experiment came to, last first.
_ENDS = ("v2format_checkpoint", "grpo_checkpoints", "rce_checkpoints", *reversed(STAGES))
Warn = Callable[[str], None]
_LOG = logging.getLogger(__name__)


def chosen(
    root: Path, catalog: Catalog, keys: list[str], assignments: dict[str, Any], warn: Warn = _LOG.warning
) -> Iterator[Experiment]:
    """The cells of an automation: those named, each with the settings of its artifacts, or every trained one.

    ``assignments`` are ``{"asset.field": value}``, stronger than what the artifacts were made with. A cell
    trained under several rewards comes once for each. ``warn`` is given a cell whose artifacts do not say.
    """
    store, named, trained = Store(root), [Cell.parse(key) for key in keys], set()
    for path in _ends(store):
        try:
            experiment = as_made(store, path, catalog)
        except UserError as problem:  # one cell's problem does not stop the others
            warn(str(problem))
            continue
        trained.add(experiment.cell)
        if experiment.cell in (named or catalog.cells):  # it may be of an overlay that is not in use today
            yield _with(experiment, assignments)
    for cell in named:
        if cell in trained:
            continue
        try:
            begun = _latest(store, cell)
            experiment = as_made(store, begun, catalog) if begun else Experiment(cell, Settings(), store, catalog)
        except UserError as problem:
            warn(f"{cell}: {problem}")
            continue
        yield _with(experiment, assignments)


def _ends(store: Store) -> list[Path]:
    """The manifest of what each experiment that is whole came to: a v2-format file, or the selector evaluated."""
    exported = {path.parent: path for path in store.root.glob(f"*/model_cpk/v3_*/v2format_checkpoint{MANIFEST}")}
    evaluated = store.root.glob(f"*/icl_inference/v3_*/evaluation{MANIFEST}")
    folders = {path: path.parents[2] / "model_cpk" / path.parent.name for path in evaluated}
    own = {folder: path for path, folder in folders.items() if folder not in exported}
    return sorted([*exported.values(), *own.values()])


def last_made(
    store: Store, cell: Cell, catalog: Catalog, asked: Mapping[str, Any], run_id: str | None = None
) -> Experiment | None:
    """A cell with the settings of its newest artifacts; None where it has none.

    A cell may have several experiments, each in folders of its own: among those that fit what is ``asked``
    (``{"reward.mode": …}``), one that ``run_id`` has made something of comes before newer ones, so that all steps
    of a run agree. Raises ``UserError`` if a manifest that says the settings cannot be read.
    """
    found: list[tuple[bool, bool, str, Path]] = []
    for folder in sorted((store.root / cell.dataset / "model_cpk").glob(f"{escape(v3_prefix(cell))}*")):
        paths = [path for asset in _ENDS if (path := manifest_in(folder, asset)).is_file()]
        manifests = [made for path in paths if (made := store.read(path)) is not None and made.cell == cell.key]
        if manifests:
            mine = any(made.run_id == run_id for made in manifests)
            newest = max(made.created_at for made in manifests)
            found.append((_fits(as_made(store, paths[0], catalog), folder, asked), mine, newest, paths[0]))
    end = max(found)[3] if found else _latest(store, cell)
    if end is None:
        return None
    experiment = as_made(store, end, catalog)
    return replace(experiment, settings=_source_as_open(experiment))


def _fits(experiment: Experiment, folder: Path, asked: Mapping[str, Any]) -> bool:
    """Whether what is asked for of reward and name leads to the folder of an experiment."""
    places = {place: value for place, value in asked.items() if place.startswith(("reward.", "shared.name"))}
    return _with(experiment, places).paths.v3_folder == folder


def _source_as_open(experiment: Experiment) -> Settings:
    """The settings, but without the phase that is recommended, for GRPO may be asked for now; unless RCE was
    recommended although there was GRPO: so somebody decided."""
    settings, named = experiment.settings, experiment.settings.explicit.get("v2format_checkpoint", {})
    grpo, made = experiment.manifest("grpo_checkpoints"), experiment.manifest("v2format_checkpoint")
    decided = grpo is not None and made is not None and grpo.created_at <= made.created_at
    if named.get("source") == "rce" and decided:
        return settings
    left = {name: value for name, value in named.items() if name != "source"}
    return settings.model_copy(update={"explicit": {**settings.explicit, "v2format_checkpoint": left}})


def _with(experiment: Experiment, assignments: dict[str, Any]) -> Experiment:
    return replace(experiment, settings=assigned(experiment.settings, assignments))


def changed_inputs(experiment: Experiment) -> dict[str, str]:
    """``asset.input`` → its digest now, for all from outside the results root (dataset files, a v2 checkpoint,
    weights) that is no longer what the artifact on disk was made from; with the build that it would replace,
    for content that changes there and back is another cause each time."""
    changed = {}
    for step in STEPS:
        if step.name != "grpo_checkpoints" and step.left_out(experiment) is not None:
            continue  # of no run that would be asked for
        if (manifest := experiment.manifest(step.name)) is None:
            if step.name == "v2_checkpoint" and (mine := importable_v2(experiment)) is not None:
                changed["v2_checkpoint.file"] = experiment.store.digests.file(mine)
            continue
        try:
            spec = spec_of(experiment, step.name)
        except MissingInput:
            continue
        for name, given in spec.inputs.items():
            if given.manifest is None and manifest.spec.digests.get(name) != given.data_version:
                changed[f"{step.name}.{name}"] = f"{given.data_version} over {manifest.build}"
    return changed


def rl_data_new_to_grpo(experiment: Experiment) -> str | None:
    """The version of RL data that no GRPO checkpoint on disk has learned from, and the build of the one that is
    there; or None."""
    if recipes.recipe_of(experiment) != "beams":
        return None
    rl_data, grpo = experiment.manifest("rl_data"), experiment.manifest("grpo_checkpoints")
    if rl_data is None or (grpo is not None and grpo.spec.digests.get("rl_data") == rl_data.data_version):
        return None
    return f"{rl_data.data_version}-{grpo.build if grpo else 'none'}"


def _latest(store: Store, cell: Cell) -> Path | None:
    """The manifest of the last step that a cell came to. Its place depends on settings that only it knows."""
    order = list(STEP)
    found = []
    for path in sorted((store.root / cell.dataset).rglob(f"*{MANIFEST}")):
        try:
            manifest = store.read(path)
        except UserError:  # whose it is cannot be known; the run that needs it says so
            continue
        if manifest is not None and manifest.cell == cell.key and manifest.spec.asset in order:
            found.append((order.index(manifest.spec.asset), manifest.created_at, path))
    return max(found)[2] if found else None


def as_made(store: Store, path: Path, catalog: Catalog) -> Experiment:
    """The cell of the manifest at ``path``, with the settings of all that it was made from."""
    if (end := store.read(path)) is None:
        raise UserError(f"{path} was removed while it was read.")
    try:
        return _as_made(store, path, end, catalog)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        why = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)[:200]
        raise UserError(
            f"{path}: what it and its inputs were made with is not of our form ({why}); restore it, or move it "
            "away to have the artifact made again."
        ) from None


def _as_made(store: Store, path: Path, end: Manifest, catalog: Catalog) -> Experiment:
    manifests = manifests_behind(store, end)
    cell = Cell.parse(end.cell)
    experiment = Experiment.open(cell, _with_folder(_settings(manifests), path, cell), store.root, catalog)
    if experiment.cell not in catalog.cells:
        return experiment
    # An RCE checkpoint that is recommended does not lead to the GRPO beside it, which may be hours of work.
    for asset in ("grpo_checkpoints", "evaluation"):
        if (beside := experiment.manifest(asset)) is not None:
            manifests.setdefault(asset, beside)
    settings = _with_checkpoint(experiment, manifests, _with_folder(_settings(manifests), path, cell))
    experiment = Experiment.open(experiment.cell, settings, store.root, catalog)
    for asset in settings.explicit:
        try:
            experiment.config(asset)
        except UserError as error:  # it names a setting, as if the user had set it
            raise UserError(
                f"{experiment.manifest_path(asset)}: its settings are not of our form ({str(error).rstrip('.')}); "
                "restore it, or move it away to have the artifact made again."
            ) from None
    return experiment


def _with_folder(settings: Settings, path: Path, cell: Cell) -> Settings:
    """With the name of the experiment, and the text of its weights, that the folder of ``path`` says."""
    folder = path.parent.name
    if not folder.startswith(v3_prefix(cell)):
        return settings  # of an artifact that the cell's experiments share
    part, name = split(folder.removeprefix(v3_prefix(cell)))
    shared = settings.shared.model_copy(update={"name": name, "reward_suffix": part or None})
    return settings.model_copy(update={"shared": shared})


def manifests_behind(store: Store, manifest: Manifest) -> dict[str, Manifest]:
    """``manifest`` and those of everything that it was made from, by asset: as they are today, or, of what was
    removed since, as they were consumed."""
    found: dict[str, Manifest] = {}
    _walk(store, manifest, found, set(), 0)
    return found


def _walk(store: Store, manifest: Manifest, found: dict[str, Manifest], known: set[str], depth: int) -> None:
    """Into ``found``, the nearest first. ``known``: builds that were walked, to which several ways lead, or, of
    manifests that name each other, a circle."""
    found.setdefault(manifest.spec.asset, manifest)
    if manifest.build in known or depth > len(STEPS):
        return
    known.add(manifest.build)
    for name, given in manifest.spec.inputs.items():
        if given.manifest is None:
            continue
        made = store.read(store.root / given.manifest) or consumed(store, name.split(".")[0], given)
        if made is not None:
            _walk(store, made, found, known, depth + 1)


def _with_checkpoint(experiment: Experiment, manifests: dict[str, Manifest], settings: Settings) -> Settings:
    """Name the imported v2 checkpoint where a look into its folder would not find it, or would find another."""
    if (v2 := manifests.get("v2_checkpoint")) is None or v2.origin != "imported":
        return settings
    used = experiment.store.resolve(v2.files[0])
    try:
        if importable_v2(experiment) == used:
            return settings
    except UserError:
        pass
    return assigned(settings, {"v2_checkpoint.checkpoint": str(used)}) if used.is_file() else settings


def _settings(manifests: dict[str, Manifest]) -> Settings:
    explicit: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {"recipe": recipes.as_made(manifests)}
    for asset, manifest in manifests.items():
        config = manifest.spec.config
        explicit[asset] = {name: config[name] for name in own_fields(STEP[asset]) if name in config}
        shared |= {name: config[name] for name in Shared.model_fields if name in config}
    if "expand" in explicit.get("beam_data", {}):
        explicit["beam_data"]["expand"] = explicit["beam_data"]["expand"] or 0  # an open setting is the default
    if "v2_checkpoint" in explicit:
        explicit["v2_checkpoint"]["source"] = "auto"  # a checkpoint that the user adds is taken
    if (v2format := manifests.get("v2format_checkpoint")) is not None:
        phase = v2format.facts["phase"]
        explicit["v2format_checkpoint"]["source"] = phase if phase in ("rce", "grpo") else "auto"
    rewarded = next((manifests[asset] for asset in ("rce_checkpoints", "rl_selector") if asset in manifests), None)
    reward = rewarded.spec.config["reward"] if rewarded is not None else {}
    return Settings(shared=Shared(**shared), reward=RewardSettings(**reward), explicit=explicit)


def digest_of(changed: dict[str, str]) -> str:
    """Names one set of changes, so that each is asked for once."""
    return sha256_json(changed)[:16]
