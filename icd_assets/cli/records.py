"""What a killed run left unsaid: artifacts that are complete on disk, but that Dagster has no event of.

A process can die between an artifact's manifest and its event, or before the leaderboard was drawn up. A file in
``.icd_assets/runs`` stands for each run of the command line that has not ended, so that a look costs no import of
Dagster where nobody was killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from icd_assets.plan import Planned
from icd_assets.store import Store

if TYPE_CHECKING:
    import dagster as dg

    from icd_assets.experiment import Experiment


def may_be_unsaid(experiment: Experiment, planned: list[Planned]) -> bool:
    """Whether a run was killed (or is at work now), or the leaderboard has not seen the cell's evaluation."""
    evaluated = any(item.step.name == "evaluation" for item in planned)
    return bool(_open_runs(experiment.store)) or (evaluated and _is_behind(experiment))


def _open_runs(store: Store) -> list[Path]:
    return sorted((store.private / "runs").glob("*"))


def _is_behind(experiment: Experiment) -> bool:
    """Whether the leaderboard was drawn up before the cell was evaluated."""
    evaluation, leaderboard = experiment.manifest_path("evaluation"), experiment.store.root / "leaderboard.json"
    if not evaluation.is_file():
        return False
    return not leaderboard.is_file() or leaderboard.stat().st_mtime_ns < evaluation.stat().st_mtime_ns


@contextmanager
def open_run(store: Store, home: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Mark a run as not ended while it is at work; forget those that have."""
    for mark in _open_runs(store):
        run = home.get_run_by_id(mark.name)
        if run is None or run.is_finished:
            mark.unlink(missing_ok=True)
    mark = store.private / "runs" / run_id
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    yield
    mark.unlink(missing_ok=True)  # not if it failed: what it had made may be unsaid


def unsaid(home: dg.DagsterInstance, experiment: Experiment, planned: list[Planned]) -> list[str]:
    """The steps of a plan that are present on disk, but whose last event in Dagster is not of what is there."""
    found = []
    for item in planned:
        manifest = experiment.manifest(item.step.name) if item.reason is None else None
        if manifest is None:
            continue
        behind = item.step.name == "evaluation" and _is_behind(experiment)
        if behind or _last_version(home, item.step.name, experiment.cell.key) != manifest.data_version:
            found.append(item.step.name)
    return found


def _last_version(home: dg.DagsterInstance, asset: str, partition: str) -> str | None:
    import dagster as dg

    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
    records = home.fetch_materializations(wanted, limit=1).records
    made = records[0].asset_materialization if records else None
    return (made.tags or {}).get("dagster/data_version") if made is not None else None
