"""What a plan does that its table does not show: what it replaces, what it keeps although other is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment import folder_name
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.paths import v3_prefix
from icd_assets.experiment.plan import Plan, Planned
from icd_assets.experiment.spec import spec_of
from icd_assets.scoring.rewards import suffix
from icd_assets.store.manifest import flatten
from icd_assets.store.names import BESIDE, set_aside

_OF_AN_EXPERIMENT = (
    *("singles_selector", "step_labels", "sequence_selector", "rl_selector"),
    *("rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint", "evaluation"),
)
_SHARED = ("candidate_pools", "beam_data", "v2_checkpoint", "embeddings", "single_labels", "rl_queries", "rl_data")
_NO_SETTING = "grpo_beside"  # of a v2-format file: what lies there, not what was asked for
_SHOWN = 4


def notes(plan: Plan) -> Iterator[str]:
    """One sentence each."""
    yield from _same_weights(plan)
    yield from other_epochs(plan.experiment, plan.force)
    yield from _replaced(plan)
    yield from _beside(plan)
    yield from _set_aside(plan)


def other_epochs(e: Experiment, force: frozenset[str] = frozenset()) -> Iterator[str]:
    """Adopted epochs that are kept although another number is asked for, with the flag that trains them again."""
    for phase in ("rce", "grpo"):
        asset, variable = f"{phase}_checkpoints", f"{phase.upper()}_EPOCHS"
        if asset in force or (there := e.manifest(asset)) is None or there.origin != "adopted":
            continue
        have, asked = there.facts["epochs"], getattr(e.config(asset), f"{phase}_epochs")
        if have == asked:
            continue
        if asked == 0:
            yield f"{asset}: {have} adopted {_epochs(have)} left out by {variable}=0; {variable}={have} takes them"
        else:
            yield (
                f"{asset}: {have} adopted {_epochs(have)} although {variable}={asked}: kept as they are, for how "
                f"they were trained is not known; --force {asset} trains {asked}"
            )


def _epochs(count: int) -> str:
    return "epoch" if count == 1 else "epochs"


def _same_weights(plan: Plan) -> Iterator[str]:
    """Another text of the same weights names the folder."""
    e = plan.experiment
    if not any(item.step.name in _OF_AN_EXPERIMENT for item in plan.steps):
        return
    shared, used = e.settings.shared, folder_name.split(e.suffix)[0]
    typed = shared.reward_suffix
    wished = typed if typed is not None and folder_name.means(typed, e.reward) else suffix(e.reward)
    if used != wished and e.reward.mode == "hard_plus_soft":
        there, other = (f"{v3_prefix(e.cell)}{part}" for part in (used, wished))
        yield f"{there} has the same weights as {other} and is used; --name NAME trains another"


def _replaced(plan: Plan) -> Iterator[str]:
    """Checkpoints and tables of other settings that the plan would overwrite."""
    made = [item for item in plan.steps if item.reason not in (None, "missing") and item.origin == "made"]
    changes = {item.step.name: list(_changes(plan.experiment, item)) for item in made}
    own = [name for name in changes if name in _OF_AN_EXPERIMENT]
    shared = [name for name in changes if name in _SHARED]
    if own and (why := _why(changes, (*shared, *own))):  # they are made from what is shared
        folder = plan.experiment.paths.v3_folder.name
        yield f"replaces {', '.join(own)} of {folder} ({why}); --name NAME keeps both"
    if shared and (why := _why(changes, shared)):
        yield f"replaces {', '.join(shared)} ({why}), which the cell's experiments share, whatever their names"


def _why(changes: dict[str, list[str]], assets: Iterable[str]) -> str:
    """The changes of these assets, each once, the first few."""
    found = list(dict.fromkeys(change for asset in assets for change in changes[asset]))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(found[:_SHOWN])}{more}"


def _changes(e: Experiment, item: Planned) -> Iterator[str]:
    """``rce_lr 0.0001 → 0.001``: the settings that an artifact was made with and would not be again."""
    there = e.manifest(item.step.name)
    try:
        spec = spec_of(e, item.step.name, afresh=True)
    except (MissingInput, UserError):  # its own step says so
        return
    if there is None:
        return
    have, coming = flatten(there.spec.config), flatten(spec.config)
    for name in sorted({*have, *coming} - {_NO_SETTING}):
        if have.get(name) != coming.get(name):
            yield f"{name} {have.get(name)} → {coming.get(name)}"


def _beside(plan: Plan) -> Iterator[str]:
    """The user's files that have the names of what will be made."""
    e = plan.experiment
    for item in plan.steps:
        if item.reason is None:
            continue
        manifest = e.manifest_path(item.step.name)
        theirs = [path.name for path in _files(e, item.step.name) if e.store.is_the_users(manifest, path)]
        if theirs:
            more = f" and {len(theirs) - 1} more" if len(theirs) > 1 else ""
            adopt = "" if item.origin == "adopted" else "; icd-assets adopt takes yours instead"
            yield (
                f"{item.step.name}: {theirs[0]}{more} {'are' if more else 'is'} yours and "
                f"{'stay' if more else 'stays'}; what is made goes into {BESIDE}/ beside it{adopt}"
            )


def _set_aside(plan: Plan) -> Iterator[str]:
    """Files of ours that were changed since: they may be worth something to who changed them."""
    store = plan.experiment.store
    for item in plan.steps:
        there = plan.experiment.manifest(item.step.name)
        if item.reason is None or there is None or there.origin != "made":
            continue
        for path, record in ((store.resolve(record), record) for record in there.files):
            if path.is_file() and (digest := store.digests.file(path)) != record.sha256:
                aside = set_aside(path, digest).name
                yield f"{item.step.name}: {path.name} was changed since it was made; it is kept as {aside}"


def _files(e: Experiment, asset: str) -> list[Path]:
    """Where an artifact's files go; of a v2-format checkpoint that is known when its epochs are."""
    paths = e.paths
    match asset:
        case "candidate_pools":
            return [paths.train_pools, paths.anchors]
        case "beam_data":
            return [paths.beam_data]
        case "v2_checkpoint":
            return [paths.v2_checkpoint] if e.config(asset).source == "train" else []
        case "embeddings":
            return [paths.query_embeddings, paths.candidate_embeddings]
        case "rl_data":
            return [] if e.config(asset).path is not None else [paths.rl_data]
        case "single_labels" | "step_labels" | "rl_queries":
            return [getattr(paths, asset)]
        case "singles_selector" | "sequence_selector" | "rl_selector":
            return [paths.selector(asset) / name for name in ("config.json", "model.safetensors")]
        case "rce_checkpoints" | "grpo_checkpoints":
            phase = asset.partition("_")[0]
            count = getattr(e.config(asset), f"{phase}_epochs")
            return [paths.epoch_checkpoint(phase, number) for number in range(1, count + 1)]
        case _:
            return []
