"""What a run would make, and why: the steps of one cell in order, each present, missing or stale."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment, MissingInput
from icd_assets.experiment.made_from import spec_of
from icd_assets.experiment.steps import STEPS, Step
from icd_assets.scoring.ptb_tokenizer import require_caption_tools
from icd_assets.store.manifest import Manifest


@dataclass(frozen=True)
class Planned:
    """One step of a plan: ``reason`` is None if the artifact is up to date, ``origin`` if it is missing."""

    step: Step
    reason: str | None
    origin: str | None


def plan(experiment: Experiment, force: frozenset[str] = frozenset(), to: str | None = None) -> list[Planned]:
    """The steps that belong to the recipe, up to ``to`` (default: all), each with the reason to make it.

    A step after one that will be made is planned too; it ends at once if what it reads turns out to be the same
    bytes.
    """
    planned: list[Planned] = []
    coming: set[str] = set()
    for step in STEPS:
        asked = step.name == "beam_data" and step.name in {to, *force}
        if not asked and left_out(experiment, step):
            continue
        why = "forced" if step.name in force else reason(experiment, step, coming)
        if why is not None:
            coming.add(step.name)
        there = experiment.manifest(step.name)
        planned.append(Planned(step, why, None if there is None else there.origin))
        if step.name == to:
            break
    return planned


def left_out(experiment: Experiment, step: Step) -> bool:
    """Whether the recipe has no such step: GRPO without GRPO epochs (SPEC K.6: the default), beam data where the
    v2 checkpoint is the user's own: only its training reads them."""
    if step.name == "grpo_checkpoints":
        return bool(experiment.config(step.name).grpo_epochs == 0)
    return step.name == "beam_data" and not experiment.needs_beams


def reason(experiment: Experiment, step: Step, coming: Collection[str]) -> str | None:
    """Why the artifact must be made, where ``coming`` will be; None if it is up to date. Raises
    ``UserError`` for the user's own files, and what is not here to be compared with."""
    if (there := experiment.manifest(step.name)) is None:
        return "missing"
    if experiment.model.unsupported is not None and experiment.asks_vlm(step.name):
        return None  # what there is stays: it could not be made again
    if upstream := awaited(step, there, coming):
        return f"after {', '.join(upstream)}"
    try:
        return experiment.store.stale(experiment.manifest_path(step.name), spec_of(experiment, step.name))
    except MissingInput as missing:
        return f"{missing.asset} is missing"


def awaited(step: Step, there: Manifest | None, coming: Collection[str]) -> list[str]:
    """The parents that will be made before this; what is not known of an adopted artifact cannot make it stale."""
    parents = [parent for parent in step.parents if parent in coming]
    if there is None or there.origin != "adopted":
        return parents
    known = {name.partition(".")[0] for name in there.spec.inputs}
    return [parent for parent in parents if parent in known]


def require_vlm(experiment: Experiment, planned: list[Planned]) -> None:
    """Raise ``UserError`` if a step of the plan would ask a model that cannot be asked."""
    model = experiment.model
    coming = [item.step.name for item in planned if item.reason is not None]
    asking = [name for name in coming if experiment.asks_vlm(name)]
    if model.unsupported is not None and asking:
        raise UserError(
            f"{', '.join(asking)} would ask {model.name}, which cannot be: {model.unsupported}; what there is of "
            "it trains: name it by RL_DATA_PATH and LEVER_LM_CHECKPOINT_PATH, and stop --to v2format_checkpoint."
        )
    if model.endpoint is not None and asking:
        model.endpoint.decoding(model.generation)
        for name in asking:
            if experiment.scores_answers(name):
                model.endpoint.require_likelihoods(f"{name} scores answers")


def require_subset(experiment: Experiment, planned: list[Planned]) -> None:
    """Raise ``UserError`` if the plan's evaluation would ask a subset of which there is no file."""
    coming = {item.step.name for item in planned if item.reason is not None}
    if "evaluation" in coming and experiment.config("evaluation").subset:
        experiment.subset_path()


def require_metric(experiment: Experiment, planned: list[Planned]) -> None:
    """Raise ``UserError`` if a step of the plan would score captions where they cannot be scored."""
    coming = {item.step.name for item in planned if item.reason is not None}
    scoring = [name for name in coming & {"rl_data", "evaluation"} if experiment.asks_vlm(name)]
    if experiment.dataset.task == "caption" and scoring:
        require_caption_tools()
