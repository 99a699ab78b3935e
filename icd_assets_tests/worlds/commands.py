"""One world, its commands run in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from icd_assets.cli import group
from icd_assets.errors import UserError
from icd_assets.experiment.settings import environment_fields
from icd_assets_tests.worlds.manifests import World, new_world


@dataclass(frozen=True)
class Ended:
    """A command in this process, its mistakes as main() would tell them."""

    code: int
    output: str
    error: str


Run = Callable[..., Ended]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Empty: a catalog, a dataset, weights. The commands find it as a user's folder."""
    made = new_world(tmp_path / "work")
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("ICD_CATALOG", str(made.folder / "catalog.yaml"))
    monkeypatch.setenv("DAGSTER_HOME", str(made.folder))
    for name in ("RESULT_DIR", *environment_fields()):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("status", "d0")``: how it ended, and what it said."""

    def ran(*arguments: str) -> Ended:
        monkeypatch.chdir(world.folder)
        result = CliRunner().invoke(group, arguments)
        if isinstance(result.exception, UserError):
            return Ended(2, result.stdout, str(result.exception))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    return ran
