"""v2format_checkpoint: the recommended epoch in the form that Lever-Plus' inference loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.assets.step_run import Report, StepRun
from icd_assets.errors import UserError

if TYPE_CHECKING:
    from icd_assets.selector.v3_file import V3Checkpoint


def v2format_checkpoint(run: StepRun) -> Report:
    from icd_assets.selector.v2_file import write_v2format
    from icd_assets.selector.v3_file import read_v3

    phase = run.spec.config["phase"]

    def chosen(files: list[Path], trained: Mapping[str, Any]) -> tuple[int, Path, V3Checkpoint]:
        number = trained.get("best_epoch") if run.config.epoch == "best" else trained["epochs"]
        if number is None:
            raise UserError(f"the adopted {phase} checkpoints do not say which epoch is best; set epoch to last.")
        source = next(path for path in files if path.name == f"{phase}_epoch{number}.pt")
        if not source.is_file():
            raise UserError(f"{source} was pruned; make it again with --force {phase}_checkpoints.")
        return number, source, read_v3(source)

    number, source, checkpoint = run.read(f"{phase}_checkpoints", chosen)
    final = source.with_name(f"{source.stem}_v2format.ckpt")
    lineage = {**run.spec.lineage(), "source": source.name}
    write_v2format(run.staging / final.name, checkpoint, lineage=lineage)
    return Report(
        files={final: run.staging / final.name},
        facts={"phase": phase, "epoch": number, "source": source.name},
    )
