"""The demo's workplace: empty, trained once for all, and copied for tests that damage it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from icd_assets_tests.worlds.workplace import Workplace, new_workplace

_REAL_PROCESSES = {"trained", "copied", "workplace"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who takes a fixture in which real commands run is slow."""
    for item in items:
        if _REAL_PROCESSES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """An empty one."""
    return new_workplace(tmp_path / "work")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, str]:
    """RCE and GRPO trained and evaluated by one command, and what it printed. Read only."""
    place = new_workplace(tmp_path_factory.mktemp("trained"))
    variables = {"RCE_EPOCHS": "5", "GRPO_EPOCHS": "3", "FREEZE_BACKBONE_IN_GRPO": "true"}
    ended = place.train(**variables)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return place, ended.stdout


@pytest.fixture
def copied(trained: tuple[Workplace, str], tmp_path: Path) -> Workplace:
    """A copy of the trained workplace that a test may damage."""
    place = Workplace(tmp_path / "copy")
    shutil.copytree(trained[0].folder, place.folder)
    return place
