"""What the trainings of all stages share: labels in, a selector's folder out, and what is shown of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from icd_assets.assets import inputs
from icd_assets.assets.epochs import Epochs
from icd_assets.assets.figures import Markdown, Table, curve, meanings
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.experiment.recipes import STAGES
from icd_assets.selector.config import SelectorTraining

if TYPE_CHECKING:
    from icd_assets.scoring.rl_data import RlData
    from icd_assets.scoring.step_labels import StepLabels
    from icd_assets.selector.labels import TrainingLabels
    from icd_assets.selector.model import PointerSelector


_SHAPE = ("hidden_dim", "aspects", "num_layers", "num_heads")


def train_stage(run: StepRun, asset: str, *, start: str | None) -> Report:
    """One stage, from new weights or from those of the asset ``start``: the kept epoch's selector, in a folder."""
    from icd_assets.selector.learn import kept_epoch, train_selector
    from icd_assets.selector.selector_file import CONFIG, WEIGHTS, write_selector

    first = None if start is None else inputs.selector(run, start)
    config, stage = run.config if first is None else shaped_as(first, run.config), STAGES[asset].lower()
    labels = training_labels(run)
    kept = partial(kept_epoch, kept_by=config.kept_by)
    epochs = Epochs(run, math.ceil(config.updates / config.updates_per_epoch), kept=kept)
    trained = train_selector(
        labels,
        config,
        stage=stage,
        device=run.device,
        start=first,
        resumed=epochs.resumed,
        on_epoch=epochs.finish,
    )
    write_selector(
        run.staging,
        trained.policy.to("cpu"),
        stage=stage,
        encoder_digest=inputs.encoder_digest(run),
        encoder=inputs.encoder_name(run),
        lineage=run.spec.lineage(),
    )
    final, best = run.experiment.paths.selector(asset), trained.history[trained.best_epoch]
    rows = sorted({group.query_row for groups in (labels.dense, labels.pointers) for group in groups})
    return Report(
        files={final / name: run.staging / name for name in (CONFIG, WEIGHTS)},
        facts={
            "rows": len(rows),
            "stage": stage,
            "architecture": config.architecture,
            "epochs": len(trained.history),
            "best_epoch": trained.best_epoch + 1,
            "kept_by": config.kept_by,
            **{name: best[name] for name in ("val_expected_reward", "val_greedy_reward")},
            "prompts": prompts_behind(run),
            "history": trained.history,
            "trained_on_rows": rows,
        },
    )


def shaped_as(first: PointerSelector, config: SelectorTraining) -> SelectorTraining:
    """A stage goes on from weights of a shape: a setting of it that is the default means that shape."""
    shape = {name: getattr(first.config, name) for name in _SHAPE}
    default = {name: SelectorTraining.model_fields[name].default for name in _SHAPE}
    return config.model_copy(
        update={name: value for name, value in shape.items() if getattr(config, name) == default[name]}
    )


def training_labels(run: StepRun, data: RlData | None = None) -> TrainingLabels:
    """Every kind of label that the stage is made from; ``data``: rewards that are not a file yet."""
    from icd_assets.scoring.groups import dense_groups, reward_groups
    from icd_assets.selector.labels import TrainingLabels

    steps, pools = _steps(run)
    if data is None and "rl_data" in run.spec.inputs:
        data = inputs.rl_data(run)
    return TrainingLabels(
        embeddings=inputs.embeddings(run),
        dense=dense_groups(steps, pools),
        pointers=() if data is None else reward_groups(data, run.experiment.reward),
        held_out=None if data is None else data.held_out,
    )


def _steps(run: StepRun) -> tuple[dict[int, list[StepLabels]], dict[int, tuple[int, ...]]]:
    """All labels of candidates by query row, and the queries' pools."""
    from icd_assets.scoring.step_labels import merged

    labels = ("single_labels", "step_labels")
    files = [inputs.labels(run, asset) for asset in labels if asset in run.spec.inputs]
    return merged(*(file.steps for file in files)), {r: pool for file in files for r, pool in file.pools.items()}


def prompts_behind(run: StepRun) -> int:
    """Distinct prompts that all labels behind the stage need, whether asked for it or answered before."""
    from icd_assets.scoring.step_labels import facts

    data = inputs.rl_data(run).queries if "rl_data" in run.spec.inputs else ()
    return int(facts(_steps(run)[0])["prompts"]) + sum(len(q.pointers) + len(q.prefixes) for q in data)


def show_learned(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    history: Sequence[Mapping[str, float]] = facts["history"]
    return {
        "curve": curve(history, ("train_loss", "val_expected_reward")),
        "kept_epoch": meanings(history[facts["best_epoch"] - 1]),
    }
