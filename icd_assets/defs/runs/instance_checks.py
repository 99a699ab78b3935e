"""The Dagster instance: it opens, its records are whole, the GPU pool has a limit, nothing in it is dead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from icd_assets.defs.runs.dead_runs import close_dead_runs, list_held_slots, list_open_runs
from icd_assets.defs.runs.instance import open_instance
from icd_assets.defs.runs.pool_wait import GPU_POOL
from icd_assets.defs.runs.postgres import server_of
from icd_assets.errors import UserError
from icd_assets.experiment.checks.places import place
from icd_assets.runtime.device import visible_gpus
from icd_assets.runtime.finding import Finding, findings
from icd_assets.runtime.yaml_file import read_yaml
from icd_assets.upkeep.doctor.databases import databases, half_written

_ANEW = "move it away and run icd-assets init"
_RESTORE = "restore it from a backup, or move history/ away: artifacts and manifests do not depend on it"


def check_instance(home: Path, *, fix: bool) -> list[Finding]:
    """Everything about the instance at ``home``, which holds a dagster.yaml. Later checks need the earlier."""
    found = [
        *findings("home", lambda: place("home", home)),
        *findings("home", lambda: _readable(home / "dagster.yaml")),
        *findings("history", lambda: _history(home)),
    ]
    if any(finding.level == "problem" for finding in found):
        return found
    try:
        with open_instance() as opened:
            found += [*_settings(opened), *_schema(opened), *_pool(opened, fix=fix), *_dead(opened, fix=fix)]
    except UserError as error:
        found.append(Finding("instance", "problem", str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a broken instance raises is what is to be reported
        text = " ".join(str(error).split())[:300] or type(error).__name__
        found.append(
            Finding("instance", "problem", f"it does not open: {text}", "fix dagster.yaml or its storage")
        )
    return found


def _readable(path: Path) -> Iterator[Finding]:
    try:
        content = read_yaml(path)
    except OSError as error:
        yield Finding("home", "problem", f"{path} cannot be read ({error.strerror})", _ANEW)
        return
    except ValueError as error:
        yield Finding("home", "problem", f"{path} is not readable YAML ({error})", _ANEW)
        return
    if not isinstance(content, dict):
        yield Finding("home", "problem", f"{path} holds no settings", _ANEW)


def _history(home: Path) -> Iterator[Finding]:
    """SQLite's own files; an instance that keeps its records elsewhere has none."""
    index = home / "history/runs/index.db"
    for path in half_written(index.parent):
        if path != index:
            yield Finding(
                "history", "warning", f"{path} is no SQLite file: the log of that run is lost", "remove it"
            )
    main = [home / "history/runs.db", index, home / "schedules/schedules.db"]
    yield from databases("history", [path for path in main if path.is_file()], _RESTORE)


def _settings(opened: dg.DagsterInstance) -> Iterator[Finding]:
    for _ in (opened.run_launcher, opened.run_coordinator, opened.compute_log_manager):
        pass  # Dagster loads them when first used: what dagster.yaml names must be there
    monitoring = opened.run_monitoring_settings
    if monitoring.get("enabled") and monitoring.get("free_slots_after_run_end_seconds"):
        yield Finding("instance", "ok", "opens; slots of ended runs are freed by the daemon")
    else:
        yield Finding(
            "instance",
            "warning",
            "nothing frees the slot of a run whose worker was killed",
            "set run_monitoring: {enabled: true, free_slots_after_run_end_seconds: 10} in dagster.yaml",
        )


def _schema(opened: dg.DagsterInstance) -> Iterator[Finding]:
    """Dagster upgrades no tables by itself."""
    storages = {
        "runs": opened.run_storage,
        "events": opened.event_log_storage,
        "schedules": opened.schedule_storage,
    }
    old = []
    for name, storage in storages.items():
        version = storage.alembic_version() if storage is not None else None
        if version is not None and version[0] != version[1]:
            old.append(f"{name} {version[0]} → {version[1]}")
    if old:
        yield Finding(
            "instance", "problem", f"tables of another Dagster: {', '.join(old)}", "dagster instance migrate"
        )
    else:
        where = server_of(opened)
        yield Finding("instance", "ok", f"its tables are of this Dagster{f', in {where}' if where else ''}")


def _pool(opened: dg.DagsterInstance, *, fix: bool) -> Iterator[Finding]:
    """A pool without a limit lets everything through at once."""
    storage, count = opened.event_log_storage, max(1, len(visible_gpus()))
    limit = storage.get_concurrency_info(GPU_POOL).limit
    if limit is None and fix:
        storage.set_concurrency_slots(GPU_POOL, count)
        yield Finding("pool", "fixed", f"pool {GPU_POOL} had no limit; it is {count} now")
    elif limit is None:
        todo = f"icd-assets gpus {count}"
        yield Finding("pool", "problem", f"pool {GPU_POOL} has no limit: all runs would use the GPU at once", todo)
    elif limit < 1:
        todo = f"icd-assets gpus {count}"
        yield Finding(
            "pool", "problem", f"the limit of pool {GPU_POOL} is {limit}: no GPU step would ever start", todo
        )
    else:
        yield Finding("pool", "ok", f"pool {GPU_POOL} lets {limit} at once")


def _dead(opened: dg.DagsterInstance, *, fix: bool) -> Iterator[Finding]:
    """Runs whose process is gone, and slots that the dead hold."""
    if fix:
        for sentence in close_dead_runs(opened, patient=True):
            yield Finding("runs", "fixed", sentence)
    alive = 0
    for found in list_open_runs(opened, patient=True):
        run = found.run
        if found.gone:
            todo = "icd-assets doctor --fix marks it as failed"
            yield Finding(
                "runs", "problem", f"run {run.run_id} is {run.status.value}, but {found.process} is gone", todo
            )
        elif found.gone is False:
            alive += 1
        else:
            who = (
                f"on another machine or in another container ({found.process})"
                if found.process
                else "not recorded"
            )
            todo = "if it is dead, terminate it in the UI; run monitoring ends what never started"
            yield Finding("runs", "warning", f"run {run.run_id} is {run.status.value}, its process {who}", todo)
    for slot in list_held_slots(opened):
        todo = "icd-assets doctor --fix frees it"
        yield Finding("pool", "problem", f"run {slot.run_id} has ended and holds a slot of pool {slot.pool}", todo)
    yield Finding("runs", "ok", f"{alive} at work, their processes are alive")
