"""The world of manifests with one cell that is evaluated, and a hub on loopback that commands publish to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from icd_assets.experiment.experiment import Experiment
from icd_assets.share.trained import Trained
from icd_assets_tests.share.keys import new_key
from icd_assets_tests.worlds.commands import run, world
from icd_assets_tests.worlds.evaluated import evaluated_cell
from icd_assets_tests.worlds.fake_hub import TOKEN, FakeHub
from icd_assets_tests.worlds.manifests import World
from icd_assets_tests.worlds.workplace import KEY, Workplace

__all__ = ["run", "world"]


@pytest.fixture
def cell(world: World) -> Experiment:
    return evaluated_cell(world)


@pytest.fixture
def shared(cell: Experiment) -> Trained:
    return Trained.of(cell)


@pytest.fixture(scope="session")
def beams(trained: tuple[Workplace, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, Path]:
    """Lever-Plus' recipe, trained, and the folder that is exported of it. Read only."""
    place, _ = trained
    folder = tmp_path_factory.mktemp("exported") / "selector"
    ended = place.run("export", KEY, "--grpo-epochs", "3", "--to", str(folder))
    assert ended.returncode == 0, ended.stderr
    return place, folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """For this process too, whose huggingface_hub has read the environment already."""
    from huggingface_hub import constants

    with FakeHub() as hub:
        files = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key that can sign; its public one lies beside it."""
    return new_key(tmp_path / "key.pem")
