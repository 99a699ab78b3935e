"""What a run would make, and why: the steps of one cell in order, each present, missing or stale."""

from __future__ import annotations

from dataclasses import dataclass

from icd_assets.experiment import Experiment, MissingInput
from icd_assets.pipeline import STEPS, Step
from icd_assets.wants import want


@dataclass(frozen=True)
class Planned:
    """One step of a plan; ``reason`` is None if the artifact is what is wanted."""

    step: Step
    reason: str | None


def plan(experiment: Experiment, force: frozenset[str] = frozenset(), to: str | None = None) -> list[Planned]:
    """The steps that belong to the recipe, up to ``to`` (default: all), each with the reason to make it.

    GRPO is left out of a recipe with no GRPO epochs (SPEC K.6: the default). A step after one that will be
    made is planned too; it ends at once if what it reads turns out to be the same bytes.
    """
    planned: list[Planned] = []
    coming: set[str] = set()
    for step in STEPS:
        if step.name == "grpo_checkpoints" and experiment.config(step.name).grpo_epochs == 0:
            continue
        reason = _reason(experiment, step, coming, force)
        if reason is not None:
            coming.add(step.name)
        planned.append(Planned(step, reason))
        if step.name == to:
            break
    return planned


def _reason(experiment: Experiment, step: Step, coming: set[str], force: frozenset[str]) -> str | None:
    if step.name in force:
        return "forced"
    if experiment.manifest(step.name) is None:
        return "missing"
    upstream = [parent for parent in step.parents if parent in coming]
    if upstream:
        return f"after {', '.join(upstream)}"
    try:
        return experiment.store.stale(experiment.manifest_path(step.name), want(experiment, step.name))
    except MissingInput as missing:
        return f"{missing.asset} is missing"
