"""Recipes: which one a cell has, what it leaves out, what it is made of; and what was there stays up to date."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.open_cell import as_typed
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.recipes import (
    DEFAULT_RECIPE,
    RECIPES,
    STEPS_OF,
    Recipe,
    implied,
    recipe_of,
    stages,
    with_implied,
)
from icd_assets.experiment.settings import read_settings
from icd_assets.experiment.spec import spec_of
from icd_assets.experiment.steps import STEP, STEPS
from icd_assets_tests.worlds.manifests import KEY, STEP_NAMES, World, document, new_world

LABELS = ("singles", "sequences", "rl")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def auto(world: World, key: str = KEY) -> Experiment:
    return world.experiment(key, RECIPE="auto")


def test_an_empty_cell_has_the_default_recipe(world: World) -> None:
    assert recipe_of(auto(world)) == DEFAULT_RECIPE == "sequences"
    made = Plan.of(auto(world)).to_make
    assert made == [step.name for step in STEPS if step.name in STEPS_OF["sequences"] - {"v2format_checkpoint"}]


@pytest.mark.parametrize("recipe", LABELS)
def test_a_recipe_makes_its_steps_and_no_others(world: World, recipe: Recipe) -> None:
    cell = world.experiment(RECIPE=recipe)
    assert set(Plan.of(cell).to_make) == STEPS_OF[recipe] - {"v2format_checkpoint"}
    exports = world.experiment(RECIPE=recipe, ARCHITECTURE="v2")
    assert set(Plan.of(exports).to_make) == STEPS_OF[recipe]


@pytest.mark.parametrize("asset", ["v2_checkpoint", "beam_data"])
def test_what_is_on_disk_of_levers_chain_keeps_it(world: World, asset: str) -> None:
    cell = world.experiment()
    for name in STEP_NAMES[: STEP_NAMES.index(asset) + 1]:
        world.make(cell, name)
    assert recipe_of(auto(world)) == "beams"
    assert recipe_of(auto(world, "d0|MixSampler/m0")) == DEFAULT_RECIPE


def test_a_checkpoint_that_lies_there_is_taken(world: World) -> None:
    cell = auto(world)
    cell.paths.v2_folder.mkdir(parents=True)
    (cell.paths.v2_folder / "m0_TextSimSampler_a.ckpt").write_bytes(b"of another sampler")
    assert recipe_of(cell) == DEFAULT_RECIPE
    (cell.paths.v2_folder / "m0_RandSampler_a.ckpt").write_bytes(b"weights")
    assert recipe_of(cell) == "beams"


@pytest.mark.parametrize("recipe", LABELS)
def test_a_whole_cell_of_labels_is_up_to_date(world: World, recipe: Recipe) -> None:
    cell = whole(world, recipe)
    assert Plan.of(cell).to_make == []
    assert recipe_of(auto(world)) == recipe and Plan.of(auto(world)).to_make == []  # what is there says which


@pytest.mark.parametrize("variables", [{"REWARD_MODE": "cider"}, {"RUN_NAME": "kl012"}])
def test_a_reward_of_another_task_stops_no_step_without_one(world: World, variables: dict[str, str]) -> None:
    assert Plan.of(world.experiment(RECIPE="auto", **variables), to="embeddings").to_make[-1] == "embeddings"


@pytest.mark.parametrize("recipe", LABELS)
def test_what_a_step_is_made_from_are_its_parents(world: World, recipe: Recipe) -> None:
    cell = whole(world, recipe)
    for name in [step.name for step in STEPS if step.name in STEPS_OF[recipe] and step.left_out(cell) is None]:
        read = {given.partition(".")[0] for given in STEP[name].made_from(cell)[1]} & STEP.keys()
        assert read <= set(STEP[name].parents), name


def test_labels_again_make_all_that_was_trained_on_them_stale(world: World) -> None:
    cell = whole(world, "rl")
    world.make(cell, "single_labels", note="other answers")
    made = Plan.of(cell).to_make
    assert made[0] == "singles_selector" and {"sequence_selector", "rl_data", "rl_selector"} <= set(made)
    assert "embeddings" not in made and "rl_queries" not in made


def test_embeddings_of_one_encoder_serve_cells_of_all_recipes(world: World) -> None:
    """Made by a cell of beams, then by one of labels: in neither direction are they made again."""
    beams = world.cell()
    labels = world.experiment("d0|MixSampler/m0", RECIPE="sequences")
    assert spec_of(labels, "embeddings").digests == spec_of(beams, "embeddings").digests
    assert "embeddings" not in Plan.of(labels).to_make
    world.make(labels, "embeddings")
    assert "embeddings" not in Plan.of(beams).to_make


def test_embeddings_that_labels_began_serve_beams(world: World) -> None:
    labels = world.experiment("d0|MixSampler/m0", RECIPE="sequences")
    world.make(labels, "embeddings")
    beams = world.experiment()
    for asset in ("candidate_pools", "beam_data", "v2_checkpoint"):
        world.make(beams, asset)
    facts(labels, "embeddings", encoder_digest=beams.fact("v2_checkpoint", "encoder_digest"))
    assert "embeddings" not in Plan.of(beams).to_make
    facts(labels, "embeddings", encoder_digest="of another encoder")
    assert "embeddings" in Plan.of(beams).to_make


def test_an_encoder_of_the_users_own_is_not_the_catalogs(world: World) -> None:
    beams = world.cell()
    path = beams.manifest_path("v2_checkpoint")
    path.write_text(json.dumps(document(path) | {"origin": "imported"}), encoding="utf-8")
    assert "embeddings" in Plan.of(world.experiment("d0|MixSampler/m0", RECIPE="sequences")).to_make


@pytest.mark.parametrize(
    ("given", "because"),
    [
        ({"GRPO_EPOCHS": "3"}, "grpo_checkpoints.grpo_epochs is set"),
        ({"RCE_LR": "0.1"}, "rce_checkpoints.rce_lr is set"),
        ({"LEVER_LM_CHECKPOINT_PATH": "x.ckpt"}, "v2_checkpoint.checkpoint is set"),
        ({"RL_DATA_PATH": "x.json"}, "rl_data.path is set"),
    ],
)
def test_settings_of_levers_chain_mean_it(given: dict[str, str], because: str) -> None:
    settings = read_settings(environment=given)
    found = implied(settings)
    assert found is not None and found.recipe == "beams" and because in found.because
    assert as_typed(settings, "demo").shared.recipe == "beams"
    named = read_settings(environment={**given, "RECIPE": "rl"})
    assert implied(named) is None and as_typed(named, "demo").shared.recipe == "rl"


@pytest.mark.parametrize("preset", ["lever_plus", "plan_five"])
def test_presets_of_levers_chain_mean_it(preset: str) -> None:
    assert as_typed(read_settings(preset, environment={}), "demo").shared.recipe == "beams"


def test_no_setting_means_no_recipe() -> None:
    for given in ({}, {"TEST_DATA_NUM": "5"}, {"GT_PROB": "true"}):
        assert as_typed(read_settings(environment=given), "demo").shared.recipe == "auto"


@pytest.mark.parametrize(
    ("to", "recipe"),
    [("rce_checkpoints", "beams"), ("rl_selector", "rl"), ("rl_queries", "rl"), ("sequence_selector", "auto")],
)
def test_an_asset_that_is_asked_for_means_a_recipe_that_has_it(to: str, recipe: str) -> None:
    assert with_implied(read_settings(environment={}), to).shared.recipe == recipe


def test_one_demonstration_leaves_no_sequences(world: World) -> None:
    cell = world.experiment(RECIPE="rl")
    cell = replace(
        cell,
        settings=cell.settings.model_copy(update={"shared": cell.settings.shared.model_copy(update={"shots": 1})}),
    )
    assert stages(cell) == ("singles_selector", "rl_selector")
    assert {"step_labels", "sequence_selector"} & set(Plan.of(cell).to_make) == set()
    for step in STEPS:
        if step.left_out(cell) is None:
            world.make(cell, step.name)
    assert set(cell.manifest("rl_selector").spec.inputs) >= {"singles_selector", "rl_data"}  # type: ignore[union-attr]


def test_what_a_recipe_has_not_says_which_has(world: World) -> None:
    with pytest.raises(UserError, match=r"^there is no rce_checkpoints to stop at: .*--recipe beams has\.$"):
        Plan.of(world.experiment(RECIPE="singles"), to="rce_checkpoints")


def test_what_exports_is_said(world: World) -> None:
    with pytest.raises(UserError, match="cannot hold a selector of the architecture gru; --architecture v2"):
        Plan.of(world.experiment(RECIPE="singles", ARCHITECTURE="gru"), to="v2format_checkpoint")


def test_rl_data_of_own_rows_lie_beside_those_of_the_anchors(world: World) -> None:
    anchors, own = world.experiment(), world.experiment(RECIPE="rl")
    assert anchors.paths.rl_data.name == "rl_data_RandSampler_m0.json"
    assert own.paths.rl_data != anchors.paths.rl_data
    mixed = world.experiment().settings
    shared = mixed.shared.model_copy(update={"rl_rows": "own"})
    both = replace(anchors, settings=mixed.model_copy(update={"shared": shared}))
    assert both.paths.rl_data == own.paths.rl_data
    assert "rl_queries" in Plan.of(both).to_make and "rl_queries" not in Plan.of(anchors).to_make


def test_every_recipe_has_steps_that_exist_after_their_parents() -> None:
    for recipe in RECIPES:
        assert STEPS_OF[recipe] <= STEP.keys()
    assert set().union(*STEPS_OF.values()) == STEP.keys()


def whole(world: World, recipe: str) -> Experiment:
    cell = world.experiment(RECIPE=recipe)
    for step in STEPS:
        if step.left_out(cell) is None:
            world.make(cell, step.name)
    return cell


def facts(cell: Experiment, asset: str, **given: Any) -> None:
    path = cell.manifest_path(asset)
    content = document(path)
    content["facts"] |= given
    path.write_text(json.dumps(content), encoding="utf-8")
