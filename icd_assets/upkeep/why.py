"""Why one artifact is not up to date: every cause, and behind an input that will be made again, its causes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import awaited
from icd_assets.experiment.spec import spec_of
from icd_assets.experiment.steps import STEP
from icd_assets.lineage.differences import Difference, spec_changes
from icd_assets.store.manifest import Input, Manifest, Spec
from icd_assets.upkeep.status import AssetStatus, CellStatus


@dataclass(frozen=True)
class Cause:
    """``a`` is what the artifact was made with, ``b`` what a new one would be; empty for a plain ``sentence``."""

    asset: str
    sentence: str
    difference: Difference | None = None


def causes(status: CellStatus, asset: str) -> Iterator[Cause]:
    """From ``asset`` upstream; each artifact once, those that are fresh not at all."""
    by_name = {one.asset: one for one in status.assets}
    waiting, explained = [asset], set()
    while waiting:
        name = waiting.pop(0)
        if name in explained:
            continue
        explained.add(name)
        one = by_name[name]
        if one.state in ("fresh", "left out"):
            continue
        yield from _of(status.experiment, one)
        waiting += awaited(STEP[name], one.manifest, [other.asset for other in status.assets if other.to_be_made])


def _of(experiment: Experiment, one: AssetStatus) -> Iterator[Cause]:
    name, manifest = one.asset, one.manifest
    if one.writer is not None:
        yield Cause(name, f"is being made right now by {one.writer}")
    if manifest is None:
        yield Cause(name, "has never been made here" if one.reason in (None, "missing") else str(one.reason))
        return
    try:
        spec = spec_of(experiment, name)
    except (MissingInput, UserError) as error:
        text = f"{error.asset} is missing" if isinstance(error, MissingInput) else str(error)
        yield Cause(name, text)
        return
    for difference in spec_changes(manifest.spec, spec):
        yield Cause(name, _sentence(difference, manifest.spec, spec), difference)
    for record in manifest.files:
        if (problem := experiment.store.rot(record, name)) is not None:
            yield Cause(name, problem)
    if one.reason is not None and one.reason.startswith("after "):
        yield Cause(name, f"comes {one.reason}")


def _sentence(difference: Difference, have: Spec, spec: Spec) -> str:
    if difference.kind != "data":
        return f"{difference.kind}: {difference.field} {difference.a} → {difference.b}"
    consumed, there = have.inputs.get(difference.field), spec.inputs.get(difference.field)
    return f"input {difference.field}: read {_of_input(consumed)}, there is {_of_input(there)}"


def _of_input(given: Input | None) -> str:
    if given is None:
        return "none"
    made = f" of run {given.run_id[:8]}, {given.created_at}" if given.run_id else ""
    return f"{given.data_version[:16]}{made}"


def fresh(manifest: Manifest) -> str:
    """What it means that an artifact need not be made again; what is not known of it was compared with nothing."""
    by = f" by run {manifest.run_id}" if manifest.run_id is not None else ""
    made = f"{manifest.origin}{by} on {manifest.created_at}, data version {manifest.data_version}"
    if not manifest.unknown:
        return f"{made}; code, config, inputs and files are up to date"
    known = ", ".join(["files", *sorted(manifest.spec.inputs)])
    return (
        f"{made}; as when it was {manifest.origin}: {known}; unknown, and so compared with no setting: "
        f"{', '.join(manifest.unknown)}; --force {manifest.spec.asset} makes it from today's settings"
    )
