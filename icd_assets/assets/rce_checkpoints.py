"""rce_checkpoints: reward-weighted cross-entropy warm-up from the v2 checkpoint, one file per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icd_assets.assets import inputs
from icd_assets.assets.figures import Markdown, Table
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.assets.training import EpochWriter, show_training


def rce_checkpoints(run: StepRun) -> Report:
    from icd_assets.selector.rce import train_rce

    groups = inputs.training_groups(run)
    writer = EpochWriter(run, "rce", run.config.rce_epochs)
    sft = inputs.v2_policy(run)
    train_rce(
        writer.policy(sft),
        groups,
        run.config,
        sft=sft,
        start_epoch=writer.start_epoch,
        optimizer_state=writer.optimizer_state,
        on_epoch=writer,
    )
    return writer.report(groups)


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    return show_training(facts, "rce_loss")
