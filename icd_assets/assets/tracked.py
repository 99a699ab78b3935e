"""The trackers of one build: which run it is to them, also after it was killed, and how it is described."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.runtime.small_file import read_small_text
from icd_assets.store.atomic import write_atomic
from icd_assets.store.manifest import Spec, flatten
from icd_assets.store.names import shared_root
from icd_assets.trackers.interface import TrackedRun
from icd_assets.trackers.known import missing
from icd_assets.trackers.trackers import Trackers

_ID = "tracked_run"


@contextmanager
def tracked(experiment: Experiment, spec: Spec, staging: Path, note: Callable[[str], None]) -> Iterator[Trackers]:
    """The trackers that the settings name, closed at the end. Raises ``UserError`` if one is not installed."""
    names = experiment.settings.shared.trackers or []
    for sentence in missing(names):
        raise UserError(sentence)
    trackers = Trackers(names, _described(experiment, spec, _id(staging) if names else ""), note)
    try:
        yield trackers
    except BaseException:
        trackers.close(complete=False)
        raise
    trackers.close(complete=True)


def links_as_facts(trackers: Trackers, experiment: Experiment) -> dict[str, dict[str, str]]:
    """``{"trackers": {name: link}}``, paths in the results relative to them; nothing without a tracker."""
    inside = f"{shared_root(experiment.store.root)}/"
    links = {name: link.removeprefix(inside) for name, link in trackers.links.items()}
    return {"trackers": links} if links else {}


def numbers(facts: Mapping[str, Any]) -> dict[str, float]:
    """Of what a step found out, the plain numbers."""
    plain = {name: value for name, value in facts.items() if isinstance(value, int | float)}
    return {name: value for name, value in plain.items() if not isinstance(value, bool)}


def _id(staging: Path) -> str:
    """What the staging folder says: it outlives a kill, as the journal in it does, and no build that is forced."""
    file = staging / _ID
    found = ""
    with suppress(OSError, ValueError):
        found = read_small_text(file, 1 << 10)
    if re.fullmatch("[0-9a-f]{32}", found):
        return found
    write_atomic(file, (new := uuid4().hex).encode())
    return new


def _described(experiment: Experiment, spec: Spec, run_id: str) -> TrackedRun:
    cell, shared = experiment.cell, experiment.settings.shared
    config = {
        "asset": spec.asset,
        "dataset": cell.dataset,
        "sampler": cell.sampler,
        "model": cell.model,
        "name": shared.name,
        "seed": shared.seed,
        "code_version": spec.code_version,
        "spec": spec.digest,
        **{f"config.{name}": value for name, value in flatten(spec.config).items()},
        **{f"inputs.{name}": digest for name, digest in spec.digests.items()},
    }
    return TrackedRun(
        id=run_id,
        name=f"{spec.asset}-{run_id[:8]}",
        group=" ".join(filter(None, (cell.key, shared.name))),
        config=config,
        folder=shared_root(experiment.store.root) / "trackers",
    )
