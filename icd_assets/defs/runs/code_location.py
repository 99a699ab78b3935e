"""A run of the command line belongs to the code location that the UI serves, and so is in its timeline.

Gap: ``execute_in_process`` (Dagster 1.13.27) records a run without the place of its job. The UI's timeline, and a
job's own list of runs, leave such a run out, and to run it again warns of another code location.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from icd_assets.defs.runs.dagster_private import (
    CodeLocationOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    ModuleTarget,
    RemoteRepositoryOrigin,
    WorkspaceFileTarget,
)

MODULE = "icd_assets.definitions"
_LABEL = ".dagster/repository"  # the tag by which a job's page finds its runs
_REPOSITORY = "__repository__"  # Dagster's name for what a Definitions object holds


@contextmanager
def as_of_the_ui(opened: dg.DagsterInstance, home: Path, job: str) -> Iterator[None]:
    """While entered, a run of ``job`` that ``opened`` creates is recorded as one of the UI's code location."""
    if (origin := job_origin(home, job)) is None:
        yield
        return
    plain: Any = opened.create_run_for_job

    def create(*given: Any, tags: Mapping[str, str] | None = None, **named: Any) -> Any:
        tags = {**(tags or {}), **label(origin)}
        return plain(*given, tags=tags, remote_job_origin=origin, **named)

    opened.create_run_for_job = create  # type: ignore[method-assign]
    try:
        yield
    finally:
        del opened.create_run_for_job


def job_origin(home: Path, job: str) -> Any:
    """The place of ``job`` as a run records it; None if it cannot be known where the UI loads the assets from."""
    location = _location(home / "workspace.yaml")
    return None if location is None else RemoteRepositoryOrigin(location, _REPOSITORY).get_job_origin(job)


def label(origin: Any) -> dict[str, str]:
    """The tag by which the page of a job finds its runs."""
    return {_LABEL: origin.repository_origin.get_label()}


def _location(workspace: Path) -> CodeLocationOrigin | None:
    """Where the UI loads the assets from: our place in the workspace file, or what ``icd-assets ui`` names without
    one. None if that cannot be known: the run does not depend on it."""
    if not workspace.is_file():
        return next(iter(ModuleTarget(MODULE, None, None, None).create_origins()))
    try:
        found = list(WorkspaceFileTarget([str(workspace)]).create_origins())
    except Exception:  # noqa: BLE001 - whatever is wrong with the file is for the UI to say
        return None
    loading = [place for place in found if isinstance(place, ManagedGrpcPythonEnvCodeLocationOrigin)]
    ours = [place for place in loading if place.loadable_target_origin.module_name == MODULE]
    return next(iter(ours or (found if len(found) == 1 else [])), None)
