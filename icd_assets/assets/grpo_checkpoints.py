"""grpo_checkpoints: group-relative policy optimization from the last RCE epoch, one file per epoch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from icd_assets.assets import inputs
from icd_assets.assets.epochs import Epochs
from icd_assets.assets.figures import Markdown, Table, show_training
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.errors import UserError


def grpo_checkpoints(run: StepRun) -> Report:
    from icd_assets.selector.grpo import train_grpo

    if run.config.grpo_epochs == 0:
        raise UserError(
            "grpo_epochs is 0, so there is nothing to train; set it to 1 or more, or leave grpo_checkpoints out "
            "of the selection (job rce_recipe)."
        )
    groups = inputs.training_groups(run)
    rce = inputs.last_epoch(run, "rce_checkpoints")
    epochs = Epochs(run, run.config.grpo_epochs, phase="grpo")
    policy = copy.deepcopy(rce)
    train_grpo(
        policy,
        groups,
        run.config,
        sft=inputs.v2_policy(run),
        rce=rce,
        resumed=epochs.resumed,
        on_epoch=epochs.finish,
    )
    return epochs.report(groups, start=rce, policy=policy)


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    return show_training(facts, "grpo_loss")
