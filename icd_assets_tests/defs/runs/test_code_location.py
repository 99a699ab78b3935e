"""A run of the command line is of the UI's code location, whatever the workspace file says."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from icd_assets.definitions import defs
from icd_assets.defs.runs.code_location import as_of_the_ui
from icd_assets_tests.worlds.workplace import ROOT


@dg.op
def nothing() -> None: ...


@dg.job
def job() -> None:
    nothing()


def recorded(instance: dg.DagsterInstance, home: Path) -> str | None:
    """repository@location of a run, as the UI's timeline looks it up; None: it is not in the timeline."""
    with as_of_the_ui(instance, home, "job"):
        ended = job.execute_in_process(instance=instance)
    assert ended.success
    run = instance.get_run_by_id(ended.run_id)
    assert run is not None
    origin = run.remote_job_origin
    assert origin is None or origin.job_name == "job"
    label = origin.repository_origin.get_label() if origin is not None else None
    assert run.tags.get(".dagster/repository") == label
    return label


def test_the_projects_workspace_file(instance: dg.DagsterInstance) -> None:
    assert recorded(instance, ROOT) == f"{defs.get_repository_def().name}@icd_assets"


def test_without_a_file_it_is_what_the_ui_calls_the_module(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert recorded(instance, tmp_path) == "__repository__@icd_assets.definitions"


@pytest.mark.parametrize(
    ("content", "location"),
    [
        # among others, ours
        (
            "load_from:\n- python_module: {module_name: other, location_name: a}\n"
            "- python_module: {module_name: icd_assets.definitions, location_name: b}\n",
            "b",
        ),
        # a server: its one location is ours
        ("load_from:\n- grpc_server: {host: code, port: 4000, location_name: c}\n", "c"),
        ("load_from:\n- python_module: {module_name: x}\n- python_module: {module_name: y}\n", None),
        ("load_from: [", None),
        ("", None),
        ("- 1", None),
        ("load_from:\n- {nonsense: 1}\n", None),
    ],
)
def test_a_workspace_file_of_the_users(
    instance: dg.DagsterInstance, tmp_path: Path, content: str, location: str | None
) -> None:
    (tmp_path / "workspace.yaml").write_text(content, encoding="utf-8")
    assert recorded(instance, tmp_path) == (location and f"__repository__@{location}")


def test_the_instance_is_left_as_it_was(instance: dg.DagsterInstance) -> None:
    with pytest.raises(ZeroDivisionError), as_of_the_ui(instance, ROOT, "job"):
        raise ZeroDivisionError
    assert "create_run_for_job" not in vars(instance)
    run = instance.get_run_by_id(job.execute_in_process(instance=instance).run_id)
    assert run is not None and run.remote_job_origin is None  # the gap is still there: else delete the module
