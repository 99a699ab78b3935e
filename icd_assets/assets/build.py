"""How every asset is built: skip by content, make in a staging folder, commit with a manifest.

The life of an artifact, whoever asks for it: Dagster, the command line or a notebook.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, NamedTuple
from uuid import uuid4

from icd_assets.assets.step_run import Report, StepRun
from icd_assets.assets.tracked import links_as_facts, numbers, tracked
from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.spec import spec_of
from icd_assets.experiment.step import Step
from icd_assets.experiment.steps import STEP
from icd_assets.runtime import progress
from icd_assets.runtime.device import lease, most_workers
from icd_assets.runtime.locks import Holder
from icd_assets.runtime.provenance import describe
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest, Spec


def _nowhere(log: object) -> None:
    """Where a run without a log writes."""


@dataclass(frozen=True)
class Run:
    """On whose behalf something is built: the id that its manifest names, and where its log goes."""

    id: str
    log: Callable[[str], None] = _nowhere
    observe: Callable[[Mapping[str, float]], None] = _nowhere  # one epoch's numbers, live

    @classmethod
    def of_python(cls, log: Callable[[str], None] = _nowhere) -> Run:
        """A run that no orchestrator knows; the next ``icd-assets train`` of the cell records what it made."""
        return cls(f"python-{uuid4()}", log)


class Built(NamedTuple):
    """An artifact that is complete, and whether it was so before."""

    manifest: Manifest
    skipped: bool


def build(experiment: Experiment, asset: str, run: Run | None = None, *, force: bool = False) -> Built:
    """Make one artifact of a cell unless it is up to date.

    >>> build(experiment, "evaluation").manifest.facts["recommended_accuracy"]
    >>> build(experiment, "rl_data", Run.of_python(log=print))

    ``force`` makes it in any case. Raises ``MissingInput`` if an input is not there, ``UserError`` for the user's
    own files and settings. Killed anywhere, the same call goes on.
    """
    if asset not in STEP:
        raise UserError(f"there is no asset {asset!r}; valid: {', '.join(STEP)}.")
    step, run = STEP[asset], run or Run.of_python()
    store, path = experiment.store, experiment.manifest_path(asset)
    holder = Holder(f"{asset} of {experiment.cell}", run.id)

    def note(text: str) -> None:
        run.log(f"{asset}: {text}")
        progress.current.noted(asset, text)

    with store.lock(path, holder, note):
        store.recover(path)
        if (reason := _reason(experiment, asset, force)) is None:
            run.log(f"{asset}: nothing to do, {path} is up to date")
            progress.current.skipped(asset)
            return Built(store.require(path, asset), skipped=True)
        run.log(f"{asset}: {reason}")
        progress.current.started(asset, reason)
        began = time.monotonic()
        gpu: AbstractContextManager[str] = (
            lease(holder, note, most=most_workers() if step.asks_vlm(experiment) else 1)
            if step.needs_gpu(experiment)
            else nullcontext("cpu")
        )
        with gpu as device:
            manifest = _make(experiment, step, run, device, note, began, force)
    progress.current.ended(asset, manifest.seconds)
    return Built(manifest, skipped=False)


def _reason(experiment: Experiment, asset: str, force: bool) -> str | None:
    """Why the artifact is to be made; None if it is up to date."""
    store, path = experiment.store, experiment.manifest_path(asset)
    if force:
        return "forced"
    reason = store.stale(path, spec_of(experiment, asset))
    if reason is not None and (there := store.read(path)) is not None and store.altered(there) is not None:
        raise UserError(f"{reason}.")  # an adopted file that the user changed is theirs to decide about
    return reason


def _make(
    experiment: Experiment,
    step: Step,
    run: Run,
    device: str,
    note: Callable[[str], None],
    began: float,
    force: bool,
) -> Manifest:
    """Under the artifact's lock and with the device held: make the files and publish them."""
    store, path = experiment.store, experiment.manifest_path(step.name)
    spec = spec_of(experiment, step.name, afresh=True)  # of the inputs as they are after hours of waiting
    with store.staging(path, spec, afresh=force) as staging:
        with tracked(experiment, spec, staging, note) as trackers:
            at_work = StepRun(
                experiment=experiment,
                config=experiment.config(step.name),
                spec=spec,
                staging=staging,
                device=device,
                on_progress=progress.Progress(step.name, run.log),
                note=note,
                observe=run.observe,
                trackers=trackers,
            )
            report = maker(step.name)(at_work)
            trackers.summarize_open(numbers(report.facts))
        facts = {**report.facts, **links_as_facts(trackers, experiment)}
        store.mark_unrecorded(run.id, experiment.cell.key)
        return store.commit(
            path,
            report.files,
            spec=spec,
            config_digest=sha256_json(spec.config),
            facts=facts,
            origin=report.origin,
            cell=experiment.cell.key,
            run_id=run.id,
            created_at=_moment(experiment, spec),
            seconds=round(time.monotonic() - began, 1),
            environment={**describe(device), **at_work.environment},
        )


def _moment(experiment: Experiment, spec: Spec) -> str:
    """Now, in UTC; where the clock was set back, a second after the newest of what the artifact is made of, and of
    its own kind beside it: the newest counts as the last that was asked for."""
    store, path = experiment.store, experiment.manifest_path(spec.asset)
    inputs = (store.root / given.manifest for given in spec.inputs.values() if given.manifest is not None)
    latest = datetime.now(UTC).replace(microsecond=0)
    for other in (*inputs, *path.parent.parent.glob(f"*/{path.name}")):
        with suppress(UserError, ValueError):  # of another experiment; what this one needs was read before
            if (manifest := store.read(other)) is not None:
                made = datetime.fromisoformat(manifest.created_at).astimezone(UTC)
                latest = made + timedelta(seconds=1) if made > latest else latest
    return latest.isoformat(timespec="seconds")


def maker(asset: str) -> Callable[[StepRun], Report]:
    """The function that makes an asset: of its own name, in the module of its name."""
    function: Callable[[StepRun], Report] = getattr(import_module(f"icd_assets.assets.{asset}"), asset)
    return function


def shown(asset: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """From an artifact's facts, what its module shows besides plain numbers: a picture, a table, a text."""
    show: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None
    show = getattr(import_module(f"icd_assets.assets.{asset}"), "show", None)
    return show(facts) if show is not None else {}
