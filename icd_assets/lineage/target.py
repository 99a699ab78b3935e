"""What a user may ask about: a cell, an asset in a cell, a run id, or any file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.steps import STEP, STEPS
from icd_assets.lineage.chain import Artifact, Chains
from icd_assets.lineage.embedded import read_embedded
from icd_assets.lineage.records import Records
from icd_assets.lineage.there import fitting, flags, others
from icd_assets.store.manifest import Manifest
from icd_assets.store.names import is_manifest

RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{12})?")
Open = Callable[[Cell], Experiment]


@dataclass(frozen=True)
class Target:
    """What was asked about. ``file`` is the file itself, if one was named; ``problem`` is what it shows; ``flags``
    mean it, where it is of another experiment of the cell than the settings mean."""

    chain: Artifact
    file: Path | None = None
    problem: str | None = None
    flags: str = ""


def find(
    words: Sequence[str], records: Records, cell_of: Callable[[Sequence[str]], Cell], open: Open
) -> list[Target]:
    """The artifacts that ``words`` mean; a run may have made several, the last first.

    ``cell_of`` reads a cell's key or its three names; ``open`` gives a cell at work.
    """
    chains = Chains(records)
    if len(words) == 1:
        (word,) = words
        if Path(word).is_file():
            return [_of_file(Path(word).absolute(), records, chains)]
        if RUN_ID.fullmatch(word):
            return [Target(chains.of(manifest)) for manifest in _of_run(word, records)]
        if "|" not in word:
            raise UserError(
                f"{word!r} is no file, no run id and no cell; name a file, a run id, a cell such as "
                "'okvqa|RandSampler/Qwen2_5-VL-3B-Instruct', or dataset, sampler and model."
            )
    assets = [word for word in words if word in STEP]
    if len(assets) > 1:
        raise UserError(f"{assets[0]} and {assets[1]} are two assets; name one.")
    experiment = open(cell_of([word for word in words if word not in STEP]))
    return [
        Target(chains.of(manifest), flags=typed)
        for manifest, typed in _of_cell(experiment, assets, list(records.live.values()))
    ]


def _of_cell(experiment: Experiment, assets: list[str], live: list[Manifest]) -> list[tuple[Manifest, str]]:
    """The asset that was named; else the recommended checkpoint, or as far as the cell has come.

    First what the settings mean; of the cell's other experiments, with the flags that mean them, what is in places
    of their own."""
    base, problem = fitting(experiment)
    orders = [assets] if assets else [["v2format_checkpoint"], [step.name for step in reversed(STEPS)]]
    for order in orders:
        found: dict[str, tuple[Manifest, str]] = {}
        for one in (base, *others(base, live)):
            for asset in order:
                manifest, place = _readable(one, asset), str(one.manifest_path(asset))
                if manifest is not None and place not in found:
                    found[place] = manifest, "" if one is base else flags(one, base)
                    break
        if found:
            return list(found.values())
    if problem is not None:
        raise UserError(problem)
    if assets:
        base.store.require(base.manifest_path(assets[0]), assets[0])  # which says what is wrong
    raise UserError(f"nothing is made of {base.cell} under {base.store.root} with these settings.")


def _readable(experiment: Experiment, asset: str) -> Manifest | None:
    """A broken manifest hides no other; the command names it."""
    try:
        return experiment.manifest(asset)
    except UserError:
        return None


def _of_run(run_id: str, records: Records) -> list[Manifest]:
    """All that the run made, whether or not it is still there, the last step first."""
    made = [manifest for manifest in records.all if (manifest.run_id or "").startswith(run_id)]
    if len(runs := {manifest.run_id for manifest in made}) > 1:
        raise UserError(f"{len(runs)} runs begin with {run_id}; give more of the id.")
    if not made:
        raise UserError(f"no artifact under {records.store.root} was made by run {run_id}.")
    order = {name: index for index, name in enumerate(STEP)}
    return sorted(made, key=lambda manifest: order.get(manifest.spec.asset, -1), reverse=True)


def _of_file(path: Path, records: Records, chains: Chains) -> Target:
    """By content; else by its place, if it was changed there; else by what it says inside."""
    if is_manifest(path):
        manifest = records.store.read(path)
        assert manifest is not None
        return Target(chains.of(manifest))
    if (manifest := records.holding(path)) is not None:
        return Target(chains.of(manifest), path)
    for manifest in records.live.values():
        if any(records.store.resolve(record) == path for record in manifest.files):
            problem = f"{path} is no longer what {manifest.spec.asset} wrote"
            return Target(chains.of(manifest), path, problem)
    return Target(chains.of_embedded(read_embedded(path)), path)
