"""rce_checkpoints: reward-weighted cross-entropy warm-up from the v2 checkpoint, one file per epoch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from icd_assets.assets import inputs
from icd_assets.assets.epochs import Epochs
from icd_assets.assets.figures import Markdown, Table, show_training
from icd_assets.assets.step_run import Report, StepRun


def rce_checkpoints(run: StepRun) -> Report:
    from icd_assets.selector.rce import train_rce

    groups = inputs.training_groups(run)
    epochs = Epochs(run, run.config.rce_epochs, phase="rce")
    sft = inputs.v2_policy(run)
    policy = copy.deepcopy(sft)
    train_rce(policy, groups, run.config, sft=sft, resumed=epochs.resumed, on_epoch=epochs.finish)
    return epochs.report(groups, start=sft, policy=policy)


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    return show_training(facts, "rce_loss")
