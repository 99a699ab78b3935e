"""v2format_checkpoint: the recommended epoch in the form that Lever-Plus' inference loads, first of its files.

Besides, the last epoch of every training in the folder: Lever-Plus' inference.sh looks for the newest epoch by
itself, GRPO's before RCE's, and what it finds without a v2-format file it converts so that attention is random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from icd_assets.assets import inputs
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.errors import UserError
from icd_assets.experiment.made_from import trained_on_todays_rce
from icd_assets.experiment.recipes import STAGES
from icd_assets.store.names import beside_the_users


def v2format_checkpoint(run: StepRun) -> Report:
    own = [asset for asset in STAGES if asset in run.spec.inputs]
    return _of_stage(run, own[-1]) if own else _of_phase(run)


def _of_stage(run: StepRun, asset: str) -> Report:
    """Of a recipe of labels: its last selector, which has the v2 architecture."""
    from icd_assets.selector.training import copy_state
    from icd_assets.selector.v2_file import write_v2format
    from icd_assets.selector.v3_file import V3Checkpoint

    policy, final = inputs.selector(run, asset), run.experiment.paths.v3_folder / f"{asset}_v2format.ckpt"
    trained = V3Checkpoint(0, STAGES[asset], copy_state(policy), 0.0, {})
    write_v2format(run.staging / final.name, trained, lineage=run.spec.lineage())
    return Report(files={final: run.staging / final.name}, facts={"phase": STAGES[asset], "source": asset})


def _of_phase(run: StepRun) -> Report:
    from icd_assets.selector.epoch_to_convert import epoch_to_convert, last_kept, v2format_of
    from icd_assets.selector.v2_file import write_v2format
    from icd_assets.selector.v3_file import read_v3

    store, path = run.experiment.store, run.experiment.manifest_path("v2format_checkpoint")
    phase = run.spec.config["phase"]
    files: dict[Path, Path] = {}

    def convert(source: Path, final: Path, asset: str, version: str) -> None:
        staged = run.staging / final.name
        lineage = {**run.spec.lineage(), "inputs": {asset: version}, "source": source.name}
        write_v2format(staged, read_v3(source), lineage=lineage)
        files[final] = staged

    def recommended(epochs: list[Path], trained: Mapping[str, Any]) -> tuple[int, Path, Path | None]:
        number, source = epoch_to_convert(phase, run.config.epoch, epochs, trained)
        final = v2format_of(source)
        if store.is_the_users(path, final):
            run.note(f"{final} is yours and stays; ours lies in {beside_the_users(final).parent.name}/ beside it")
            final = beside_the_users(final)
        convert(source, final, f"{phase}_checkpoints", run.spec.digests[f"{phase}_checkpoints"])
        return number, source, last_kept(epochs)

    number, source, last = run.read(f"{phase}_checkpoints", recommended)
    own = (f"{phase}_checkpoints", run.spec.digests[f"{phase}_checkpoints"], last)
    for asset, version, other in (*_other_phase(run), own):
        if other is None or other == source or store.is_the_users(path, v2format_of(other)):
            continue
        try:
            convert(other, v2format_of(other), asset, version)
        except UserError as error:  # of what is not recommended, and may be the user's: no reason to stop
            run.note(f"{other} is not converted: {error}")
    return Report(files=files, facts={"phase": phase, "epoch": number, "source": source.name})


def _other_phase(run: StepRun) -> Iterator[tuple[str, str, Path | None]]:
    """(asset, version, last epoch) of the training in the folder that is not the recommended one; none, if it is
    not the one that the spec is about, or damaged: its own step says so when it is its turn."""
    from icd_assets.selector.epoch_to_convert import last_kept

    experiment, asset = (
        run.experiment,
        "grpo_checkpoints" if run.spec.config["phase"] == "rce" else "rce_checkpoints",
    )
    there = experiment.manifest(asset)
    if there is None or experiment.store.damage(there) is not None:
        return
    if asset == "rce_checkpoints" and not trained_on_todays_rce(experiment):
        return
    yield asset, there.data_version, last_kept([experiment.store.resolve(record) for record in there.files])
