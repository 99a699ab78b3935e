"""A run by itself goes on in the folder that it was made in: its name, and its weights as they were typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.defs.runs.run_config import build_run_config
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.step_configs import Shared
from icd_assets.lineage.as_made import chosen
from icd_assets.scoring.rewards import RewardSettings
from icd_assets_tests.worlds.manifests import World, new_world

VARIABLES = (
    {},
    {"RUN_NAME": "kl012", "KL_BETA": "0.12"},
    {"HARD_WEIGHT": "2"},
    {"HARD_WEIGHT": "3", "RUN_NAME": "b"},
)
SUFFIXES = ["", "_h2_s1.0", "_h3_s1.0_b", "_kl012"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = new_world(tmp_path)
    for variables in VARIABLES:
        world.cell(**variables)
    return world


def test_each_experiment_comes_with_its_own_settings(world: World) -> None:
    found = list(chosen(world.root, world.experiment().catalog, [], {}))
    assert sorted(one.suffix for one in found) == SUFFIXES
    for one in found:
        assert Plan.of(one).to_make == []
    (named,) = [one for one in found if one.settings.shared.name == "kl012"]
    assert named.config("grpo_checkpoints").kl_beta == 0.12


def test_a_run_is_given_the_folder(world: World) -> None:
    """What Dagster's run gets of the settings is all that its steps know."""
    for one in chosen(world.root, world.experiment().catalog, [], {}):
        config = build_run_config(one.settings, world.root, [], frozenset())["resources"]
        shared = {name: config["shared"]["config"][name] for name in Shared.model_fields}
        given = Settings(shared=Shared(**shared), reward=RewardSettings(**config["reward"]["config"]))
        again = Experiment(one.cell, given, world.store, one.catalog)
        assert again.paths.v3_folder == one.paths.v3_folder
