"""v2format_checkpoint: the recommended epoch in the form that Lever-Plus' inference loads."""

from __future__ import annotations

from icd_assets.assets.step import Report, StepRun, step_asset
from icd_assets.errors import UserError


@step_asset("v2format_checkpoint", kinds={"pytorch"})
def v2format_checkpoint(run: StepRun) -> Report:
    from icd_assets.selector.checkpoints import read_v3
    from icd_assets.selector.lightning import write_v2format

    experiment, phase = run.experiment, run.want.config["phase"]
    trained = experiment.facts(f"{phase}_checkpoints")
    number = trained.get("best_epoch") if run.config.epoch == "best" else trained["epochs"]
    if number is None:
        raise UserError(f"the adopted {phase} checkpoints do not say which epoch is best; set epoch to last.")
    name = f"{phase}_epoch{number}.pt"
    source = next(path for path in experiment.files(f"{phase}_checkpoints") if path.name == name)
    if not source.is_file():
        raise UserError(f"{source} was pruned; make it again with --force {phase}_checkpoints.")
    final = source.with_name(f"{source.stem}_v2format.ckpt")
    lineage = {**run.want.lineage(), "source": source.name}
    write_v2format(run.staging / final.name, read_v3(source), lineage=lineage)
    return Report(
        files={final: run.staging / final.name},
        facts={"phase": phase, "epoch": number, "source": source.name},
    )
