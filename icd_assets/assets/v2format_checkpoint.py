"""v2format_checkpoint: the recommended epoch in the form that Lever-Plus' inference loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.assets.step_run import Report, StepRun

if TYPE_CHECKING:
    from icd_assets.selector.v3_file import V3Checkpoint


def v2format_checkpoint(run: StepRun) -> Report:
    from icd_assets.selector.epoch_to_convert import epoch_to_convert
    from icd_assets.selector.v2_file import write_v2format
    from icd_assets.selector.v3_file import read_v3

    phase = run.spec.config["phase"]

    def read(files: list[Path], trained: Mapping[str, Any]) -> tuple[int, Path, V3Checkpoint]:
        number, source = epoch_to_convert(phase, run.config.epoch, files, trained)
        return number, source, read_v3(source)

    number, source, checkpoint = run.read(f"{phase}_checkpoints", read)
    final = source.with_name(f"{source.stem}_v2format.ckpt")
    write_v2format(run.staging / final.name, checkpoint, lineage={**run.spec.lineage(), "source": source.name})
    return Report(
        files={final: run.staging / final.name},
        facts={"phase": phase, "epoch": number, "source": source.name},
    )
