"""What a run would make, and why: the steps of one cell in order, each present, missing or stale."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.spec import spec_of
from icd_assets.experiment.step import Step
from icd_assets.experiment.steps import STEP, STEPS
from icd_assets.experiment.v2_source import importable_v2, layers_inside
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
    >>> plan.require_possible()      # or one sentence about what is not there for it
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
            if not on_request and step.left_out(experiment):
                if step.name == to:
                    raise UserError(f"there is no {to} to stop at: {step.left_out_because}.")
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

    @property
    def evaluates(self) -> bool:
        """Whether the cell's evaluation is part of it, made or not."""
        return any(item.step.name == "evaluation" for item in self.steps)

    def require_possible(self) -> None:
        """Raise ``UserError`` if what the plan would make needs what is not there."""
        for check in (self._require_vlm, self._require_metric, self._require_subset, self._require_shape):
            check()

    def _asking(self) -> Iterator[Step]:
        return (STEP[name] for name in self.to_make if STEP[name].asks_vlm(self.experiment))

    def _require_vlm(self) -> None:
        experiment, model = self.experiment, self.experiment.model
        asking = list(self._asking())
        if model.unsupported is not None and asking:
            raise UserError(
                f"{', '.join(step.name for step in asking)} would ask {model.name}, which cannot be: "
                f"{model.unsupported}; what there is of it trains: name it by RL_DATA_PATH and "
                "LEVER_LM_CHECKPOINT_PATH, and stop --to v2format_checkpoint."
            )
        if asking:
            model.backend.require_decoding(model.generation)
        for step in asking:
            if step.scores_answers(experiment):
                model.backend.require_likelihoods(f"{step.name} scores answers")

    def _require_metric(self) -> None:
        if any(step.name in ("rl_data", "evaluation") for step in self._asking()):
            self.experiment.task.require_tools()

    def _require_shape(self) -> None:
        """A selector that its files can express: none says how many heads there are, and the v2 format holds one
        attention layer."""
        experiment = self.experiment
        v2, there = experiment.config("v2_checkpoint"), experiment.manifest("v2_checkpoint")
        own = importable_v2(experiment)
        trains = "v2_checkpoint" in self.to_make and own is None
        if trains and v2.num_heads != 1:
            raise UserError(
                f"v2_checkpoint.num_heads is {v2.num_heads}, but no checkpoint says so and every reader takes 1; "
                "set it to 1."
            )
        layers = v2.num_layers if trains else None
        if own is not None and "v2_checkpoint" in self.to_make:
            layers = layers_inside(own)
        elif layers is None and there is not None:
            layers = there.facts.get("num_layers")
        wanted = experiment.config("rce_checkpoints").num_layers
        if layers is not None and "rce_checkpoints" in self.to_make and wanted not in (None, layers):
            raise UserError(
                f"NUM_LAYERS is {wanted}, but the v2 checkpoint has {layers}; unset NUM_LAYERS, or train a v2 "
                "checkpoint with as many."
            )
        if layers not in (None, 1) and "v2format_checkpoint" in self.to_make:
            raise UserError(
                f"the selector has {layers} attention layers, but the v2 format that inference reads holds one; "
                "take NUM_LAYERS=1, or stop --to rce_checkpoints or grpo_checkpoints."
            )

    def _require_subset(self) -> None:
        if "evaluation" in self.to_make and self.experiment.config("evaluation").subset:
            self.experiment.data.subset_path()


def require_assets(to: str | None, force: Collection[str]) -> None:
    """Raise ``UserError`` for a name that is no asset's."""
    if unknown := [name for name in (*force, *([to] if to is not None else [])) if name not in STEP]:
        raise UserError(f"there is no asset {unknown[0]!r}; valid: {', '.join(STEP)}.")


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
