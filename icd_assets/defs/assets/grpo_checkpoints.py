"""grpo_checkpoints: group-relative policy optimization from the last RCE epoch, one file per epoch."""

from __future__ import annotations

import copy

from icd_assets.defs.assets import inputs
from icd_assets.defs.assets.step import Report, StepRun, step_asset
from icd_assets.defs.assets.training import EpochWriter, show_training
from icd_assets.errors import UserError


@step_asset("grpo_checkpoints", kinds={"pytorch"}, show=show_training("grpo_loss"))
def grpo_checkpoints(run: StepRun) -> Report:
    from icd_assets.selector.grpo import train_grpo

    if run.config.grpo_epochs == 0:
        raise UserError(
            "grpo_epochs is 0, so there is nothing to train; set it to 1 or more, or leave grpo_checkpoints out "
            "of the selection (job rce_recipe)."
        )
    groups = inputs.training_groups(run)
    rce = inputs.last_epoch(run, "rce_checkpoints")
    writer = EpochWriter(run, "grpo", run.config.grpo_epochs)
    train_grpo(
        copy.deepcopy(rce),
        groups,
        run.config,
        sft=inputs.v2_policy(run),
        rce=rce,
        resumed=writer.resumed,
        on_epoch=writer,
    )
    return writer.report(groups)
