"""rce_checkpoints: reward-weighted cross-entropy warm-up from the v2 checkpoint, one file per epoch."""

from __future__ import annotations

import copy

from icd_assets.defs.assets import inputs
from icd_assets.defs.assets.step import Report, StepRun, step_asset
from icd_assets.defs.assets.training import EpochWriter, show_training


@step_asset("rce_checkpoints", kinds={"pytorch"}, show=show_training("rce_loss"))
def rce_checkpoints(run: StepRun) -> Report:
    from icd_assets.selector.rce import train_rce

    groups = inputs.training_groups(run)
    writer = EpochWriter(run, "rce", run.config.rce_epochs)
    sft = inputs.v2_policy(run)
    train_rce(copy.deepcopy(sft), groups, run.config, sft=sft, resumed=writer.resumed, on_epoch=writer)
    return writer.report(groups)
