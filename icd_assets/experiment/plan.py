"""What a run would make, and why: the steps of one cell in order, each present, missing or stale."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.spec import spec_of
from icd_assets.experiment.step import Step
from icd_assets.experiment.steps import STEP, STEPS
from icd_assets.experiment.suggest import did_you_mean
from icd_assets.store.manifest import Manifest


@dataclass(frozen=True)
class Planned:
    """One step of a plan: ``reason`` is None if the artifact is up to date, ``origin`` if it is missing."""

    step: Step
    reason: str | None
    origin: str | None


@dataclass(frozen=True)
class Plan:
    """The steps of one cell's recipe, up to the last one asked for, each with the reason to make it.

    >>> plan = Plan.of(experiment, to="rl_data")
    >>> plan.to_make                 # ["beam_data", "rl_data"]
    """

    experiment: Experiment
    steps: tuple[Planned, ...]
    force: frozenset[str] = frozenset()

    @classmethod
    def of(cls, experiment: Experiment, *, to: str | None = None, force: Collection[str] = ()) -> Plan:
        """A step after one that will be made is planned too; it ends at once if what it reads turns out to be the
        same bytes. ``to``: the last step, default all; ``force``: steps that are made in any case."""
        require_assets(to, force)
        planned: list[Planned] = []
        coming: set[str] = set()  # the steps that this plan will make
        for step in STEPS:
            on_request = step.on_request and step.name in {to, *force}
            if not on_request and (because := step.left_out(experiment)) is not None:
                if step.name == to:
                    raise UserError(f"there is no {to} to stop at: {because}.")
                continue
            why = "forced" if step.name in force else reason(experiment, step, coming)
            if why is not None:
                coming.add(step.name)
            there = experiment.manifest(step.name)
            planned.append(Planned(step, why, None if there is None else there.origin))
            if step.name == to:
                break
        return cls(experiment, tuple(planned), frozenset(force))

    @property
    def to_make(self) -> list[str]:
        return [item.step.name for item in self.steps if item.reason is not None]

    def as_read_only(self) -> Plan:
        """The same plan of an experiment that only looks."""
        return replace(self, experiment=self.experiment.as_read_only())

    @property
    def evaluates(self) -> bool:
        """Whether the cell's evaluation is part of it, made or not."""
        return any(item.step.name == "evaluation" for item in self.steps)


def require_assets(to: str | None, force: Collection[str]) -> None:
    """Raise ``UserError`` for a name that is no asset's."""
    if unknown := [name for name in (*force, *([to] if to is not None else [])) if name not in STEP]:
        hint = did_you_mean(unknown[0], STEP)
        raise UserError(f"there is no asset {unknown[0]!r}; valid: {', '.join(STEP)}{hint}")


def reason(experiment: Experiment, step: Step, coming: Collection[str]) -> str | None:
    """Why the artifact must be made, where ``coming`` will be; None if it is up to date. Raises
    ``UserError`` for the user's own files, and what is not here to be compared with."""
    if (there := experiment.manifest(step.name)) is None:
        return "missing"
    if experiment.model.unsupported is not None and step.asks_vlm(experiment):
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
