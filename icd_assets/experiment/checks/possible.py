"""Can the model, the metric and the task do what the plan asks of them?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from icd_assets.errors import UserError
from icd_assets.experiment.catalog_entries import ModelEntry
from icd_assets.experiment.checks.look import Look
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.v2_source import importable_v2, layers_inside, require_one_head
from icd_assets.runtime.finding import Finding


def plan(look: Look) -> Iterator[Finding]:
    """What would be made, and each thing that cannot be."""
    yield plan_line(look.plan)
    for require in _REQUIREMENTS:
        try:
            require(look)
        except UserError as error:
            yield Finding("plan", "problem", str(error))


def require_possible(planned: Plan) -> None:
    """Raise ``UserError`` if what the plan would make needs what is not there."""
    for require in _REQUIREMENTS:
        require(Look(planned))


def plan_line(planned: Plan) -> Finding:
    """What would be made, and why."""
    made = [f"{item.step.name} ({item.reason})" for item in planned.steps if item.reason is not None]
    return Finding("plan", "ok", f"would make {', '.join(made)}" if made else "nothing has to be done")


def _require_vlm(look: Look) -> None:
    experiment, model, asking = look.experiment, look.experiment.model, look.asking
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
            _require_likelihoods(model, step.name)


def _require_likelihoods(model: ModelEntry, asset: str) -> None:
    try:
        model.backend.require_likelihoods(f"{asset} scores answers")
    except UserError:
        if asset not in ("single_labels", "step_labels"):
            raise
        raise UserError(
            f"{asset} scores answers, which {model.name} cannot be asked for; --set single_labels.label=accuracy "
            "labels by the answers that it gives."
        ) from None


def _require_metric(look: Look) -> None:
    answers = look.experiment.config("single_labels").label == "accuracy"
    judged = ("rl_data", "evaluation", *(("single_labels", "step_labels") if answers else ()))
    if any(step.name in judged for step in look.asking):
        look.experiment.task.require_tools()


def _require_subset(look: Look) -> None:
    if look.makes("evaluation") and look.experiment.config("evaluation").subset:
        look.experiment.data.subset_path()


def _require_gold_answers(look: Look) -> None:
    config = look.experiment.config("rl_data")
    if look.makes("rl_data") and config.path is None and config.gt_prob:
        look.experiment.task.require_gt_prob()


def _require_shape(look: Look) -> None:
    """A selector that its files can express: none says how many heads there are, and the v2 format holds one
    attention layer."""
    experiment = look.experiment
    v2, there = experiment.config("v2_checkpoint"), experiment.manifest("v2_checkpoint")
    layers: int | None = None if there is None else there.facts.get("num_layers")
    if look.makes("v2_checkpoint"):
        own = importable_v2(experiment)
        try:
            layers = v2.num_layers if own is None else layers_inside(own)
        except UserError:
            return  # own_files says what is wrong with it
        if own is None:
            require_one_head(v2.num_heads)
    if layers is None:
        return
    wanted = experiment.config("rce_checkpoints").num_layers
    if look.makes("rce_checkpoints") and wanted not in (None, layers):
        raise UserError(
            f"NUM_LAYERS is {wanted}, but the v2 checkpoint has {layers}; unset NUM_LAYERS, or train a v2 "
            "checkpoint with as many."
        )
    if layers != 1 and look.makes("v2format_checkpoint"):
        raise UserError(
            f"the selector has {layers} attention layers, but the v2 format that inference reads holds one; take "
            "NUM_LAYERS=1, or stop --to rce_checkpoints or grpo_checkpoints."
        )


_REQUIREMENTS: tuple[Callable[[Look], None], ...] = (
    _require_vlm,
    _require_metric,
    _require_subset,
    _require_gold_answers,
    _require_shape,
)
