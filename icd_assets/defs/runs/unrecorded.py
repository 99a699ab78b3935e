"""What a killed run left unrecorded: artifacts that are complete on disk, but that Dagster has no event of.

Gap: to Dagster (1.13.27) an asset is what its events name; it has no means to compare them with files (#16595). A
process can die between an artifact's manifest and its event, or before the leaderboard was drawn up. Marks in
the store say where that may have happened, so that looking costs no import of Dagster where it has not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icd_assets.experiment.plan import Plan
from icd_assets.experiment.steps import STEP
from icd_assets.runtime.small_file import read_small_json
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest

if TYPE_CHECKING:
    import dagster as dg

    from icd_assets.experiment.experiment import Experiment


def may_be_unrecorded(plan: Plan) -> bool:
    """Whether Dagster may not know of something, or the leaderboard not of the cell's evaluation."""
    experiment = plan.experiment
    marks = experiment.store.unrecorded_marks(experiment.cell.key)
    return bool(marks) or (plan.evaluates and _is_behind(experiment))


def find_unrecorded(opened: dg.DagsterInstance, plan: Plan) -> list[str]:
    """The steps of a plan that are present on disk, but whose last event in Dagster is not of what is there.

    ``evaluation`` stands for the leaderboard, which is drawn up after it.
    """
    experiment, found = plan.experiment, []
    for item in plan.steps:
        name = item.step.name
        manifest = experiment.manifest(name) if item.reason is None else None
        if manifest is None:
            continue
        recorded = _last_version(opened, name, experiment.cell.key) == manifest.data_version
        if not recorded or (name == "evaluation" and not _leaderboard_is_recorded(opened, experiment)):
            found.append(name)
    return found


def forget_marks(opened: dg.DagsterInstance, plan: Plan) -> None:
    """Drop the marks of runs that ended well, and of all that ended if the whole cell was looked at; with what
    such a run could not remove any more, as on a disk that became read-only behind a manifest."""
    experiment = plan.experiment
    for mark, run_id in experiment.store.unrecorded_marks(experiment.cell.key).items():
        run = opened.get_run_by_id(run_id)
        if run is None or run.is_success or (plan.evaluates and run.is_finished):
            _tidy(experiment, run_id)
            mark.unlink(missing_ok=True)


def _tidy(experiment: Experiment, run_id: str) -> None:
    """Remove staging folders and notes of locks, which who takes the lock removes, of what a run has made."""
    store = experiment.store
    made = [path for path in map(experiment.manifest_path, STEP) if _is_of(store.read(path), run_id)]
    for path in (path for path in made if store.writer(path) is None):
        with store.lock(path):
            store.recover(path)
    board = store.root / "leaderboard.json"
    if store.writer(board) is None:
        with store.lock(board):
            pass


def _is_of(manifest: Manifest | None, run_id: str) -> bool:
    return manifest is not None and manifest.run_id == run_id


def _is_behind(experiment: Experiment) -> bool:
    """Whether the leaderboard lacks the cell's evaluation. By what it holds, not by the times of the files: the
    clock may have been set back between the two."""
    evaluation = experiment.manifest("evaluation")
    if evaluation is None:
        return False
    shown = [(row.get("dataset"), row.get("sampler_model"), row.get("evaluated_at")) for row in _rows(experiment)]
    return (*evaluation.cell.split("|"), evaluation.created_at) not in shown


def _leaderboard_is_recorded(opened: dg.DagsterInstance, experiment: Experiment) -> bool:
    if _is_behind(experiment):
        return False
    return _last_version(opened, "leaderboard", None) == sha256_json(_rows(experiment))[:16]


def _rows(experiment: Experiment) -> list[dict[str, Any]]:
    """Of the leaderboard on disk; none where it cannot be read, then it is drawn up again."""
    try:
        rows = read_small_json(experiment.store.root / "leaderboard.json")
    except (OSError, ValueError):
        return []
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else []


def _last_version(opened: dg.DagsterInstance, asset: str, partition: str | None) -> str | None:
    import dagster as dg

    partitions = [partition] if partition is not None else None
    latest = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=partitions)
    records = opened.fetch_materializations(latest, limit=1).records
    made = records[0].asset_materialization if records else None
    return (made.tags or {}).get("dagster/data_version") if made is not None else None
