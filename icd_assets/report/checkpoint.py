"""The evaluation that asked with a checkpoint, and the strategy that the checkpoint is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.evaluation.earlier import EARLIER, earlier
from icd_assets.evaluation.predictions import folder_of
from icd_assets.experiment.recipes import STAGES, stage_name
from icd_assets.lineage import Records
from icd_assets.store.manifest import FileRecord, Manifest


def evaluated(path: Path, records: Records) -> tuple[Path, Manifest, str]:
    """(folder, record, strategy) of the newest evaluation that asked with the checkpoint at ``path``.

    Raises ``UserError`` for a file that was not made here, or not evaluated: of a training of several epochs one
    or two are.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if (made := records.holding(file)) is None:
        raise UserError(f"{path} is no checkpoint that was made or adopted here; evaluate it, and compare that.")
    digest = records.store.digests.file(file)
    others = list[str]()
    for folder, evaluation in _evaluations(records):
        if evaluation.spec.digests.get(made.spec.asset) != made.data_version:
            continue
        by_file = _strategies(made, evaluation, records)
        for record in (record for record in made.files if record.sha256 == digest):
            if (strategy := by_file.get(_name(record))) is not None:
                return folder, evaluation, strategy
        others += by_file
    if others:
        listed = " and ".join(dict.fromkeys(others))
        raise UserError(f"{path} was not evaluated itself, only {listed} of its training; compare one of these.")
    raise UserError(f"{path} was not evaluated; run icd-assets train for {made.cell}, and compare it then.")


def _evaluations(records: Records) -> Iterator[tuple[Path, Manifest]]:
    """Those that are there, then those that were replaced, the newest first."""
    root = records.store.root
    for place, one in records.live.items():
        if one.spec.asset == "evaluation":
            yield folder_of(one, (root / place).parent, root), one
    for folder in (path.parent for path in sorted(root.glob(f"*/icl_inference/*/{EARLIER}"))):
        yield from ((one.folder, one.manifest) for one in earlier(folder))


def _strategies(made: Manifest, evaluation: Manifest, records: Records) -> dict[str, str]:
    """File of ``made`` → the strategy that it is in ``evaluation``."""
    asset, recommended = made.spec.asset, str(evaluation.fact("recommended"))
    if asset in STAGES:
        return dict.fromkeys(map(_name, made.files), stage_name(asset, str(made.fact("architecture"))))
    if asset == "v2_checkpoint":
        return dict.fromkeys(map(_name, made.files), "v2 (SFT)")
    found = {}
    if asset == "rce_checkpoints" and "grpo_checkpoints" in evaluation.spec.inputs:
        found[_name(made.files[-1])] = "RCE"  # the last, besides the recommended one
    if asset == "v2format_checkpoint":
        return {_name(made.files[0]): recommended}
    converted = evaluation.spec.inputs.get("v2format_checkpoint")
    exported = None if converted is None else records.find("v2format_checkpoint", converted)
    if exported is not None and exported.spec.digests.get(asset) == made.data_version:
        found[str(exported.fact("source"))] = recommended
    return found


def _name(record: FileRecord) -> str:
    return Path(record.path).name
