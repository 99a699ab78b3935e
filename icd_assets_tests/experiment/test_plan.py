"""A plan: what it makes and why, what it leaves out, and what it refuses before anything is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.experiment.checks.possible import require_possible
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.settings import assigned
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.v2_file import V2Checkpoint, write_v2
from icd_assets_tests.worlds.manifests import STEP_NAMES, World, new_world

ALL = STEP_NAMES


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def test_of_nothing_everything_but_grpo_is_made(world: World) -> None:
    plan = Plan.of(world.experiment())
    assert plan.to_make == [name for name in ALL if name != "grpo_checkpoints"]
    assert plan.evaluates
    assert {item.reason for item in plan.steps} == {"missing"}


def test_of_a_whole_cell_nothing_is_made(world: World) -> None:
    cell = world.cell()
    plan = Plan.of(cell)
    assert [item.step.name for item in plan.steps] == ALL
    assert (plan.to_make, [item.origin for item in plan.steps]) == ([], ["made"] * len(ALL))


def test_what_is_forced_and_what_comes_after_it(world: World) -> None:
    plan = Plan.of(world.cell(), force=("rl_data",), to="rce_checkpoints")
    reasons = {item.step.name: item.reason for item in plan.steps}
    assert (reasons["embeddings"], reasons["rl_data"]) == (None, "forced")
    assert reasons["rce_checkpoints"] == "after rl_data" and [*reasons][-1] == "rce_checkpoints"
    assert (plan.force, plan.evaluates) == (frozenset({"rl_data"}), False)


def test_beams_of_a_cell_with_a_checkpoint_of_its_own_are_made_on_request_only(world: World) -> None:
    mine = world.folder / "mine.ckpt"
    mine.write_bytes(b"weights")
    cell = world.experiment(LEVER_LM_CHECKPOINT_PATH=str(mine))
    assert "beam_data" not in Plan.of(cell).to_make
    assert Plan.of(cell, to="beam_data").to_make == ["candidate_pools", "beam_data"]
    assert "beam_data" in Plan.of(cell, force=("beam_data",)).to_make


def test_beams_are_made_on_request_whatever_lies_in_the_checkpoints_folder(world: World) -> None:
    cell = world.experiment()
    cell.paths.v2_folder.mkdir(parents=True)
    for name in ("a", "b"):
        (cell.paths.v2_folder / f"m0_RandSampler_{name}.ckpt").write_bytes(b"weights")
    with pytest.raises(UserError, match="holds 2 v2 checkpoints"):
        Plan.of(cell)
    assert Plan.of(cell, to="beam_data").to_make == ["candidate_pools", "beam_data"]


def test_a_reward_of_another_task_stops_no_step_without_one(world: World) -> None:
    cell = world.experiment(REWARD_MODE="cider")
    assert Plan.of(cell, to="embeddings").to_make[-1] == "embeddings"
    with pytest.raises(UserError, match="REWARD_MODE cider is not a reward of the task vqa"):
        Plan.of(cell)


def test_a_step_that_the_recipe_leaves_out_is_nothing_to_stop_at(world: World) -> None:
    with pytest.raises(UserError, match=r"^there is no grpo_checkpoints to stop at: .*GRPO_EPOCHS=0"):
        Plan.of(world.cell(GRPO_EPOCHS="0"), to="grpo_checkpoints")


@pytest.mark.parametrize("asked", [{"to": "rl_dat"}, {"force": ("rl_data", "pools")}])
def test_an_unknown_name(world: World, asked: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"^there is no asset '(rl_dat|pools)'; valid: candidate_pools, "):
        Plan.of(world.experiment(), **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"v2_checkpoint.num_layers": 3}, "has 3 attention layers, but the v2 format"),
        ({"v2_checkpoint.num_heads": 4}, "num_heads is 4, but no checkpoint says so"),
        ({"rce_checkpoints.num_layers": 3}, "NUM_LAYERS is 3, but the v2 checkpoint has 1"),
    ],
)
def test_a_selector_that_its_files_cannot_hold_is_refused_at_once(
    world: World, settings: dict[str, int], says: str
) -> None:
    experiment = replace(world.experiment(), settings=assigned(world.experiment().settings, settings))
    with pytest.raises(UserError, match=says):
        require_possible(Plan.of(experiment))
    require_possible(Plan.of(experiment, to="beam_data"))


def test_more_layers_train_as_long_as_nothing_is_converted(world: World) -> None:
    experiment = world.experiment(NUM_LAYERS="3")
    with pytest.raises(UserError, match="NUM_LAYERS=1, or stop --to"):
        require_possible(Plan.of(experiment))
    require_possible(Plan.of(experiment, to="rce_checkpoints"))


def test_the_layers_of_ones_own_checkpoint_are_looked_at(world: World) -> None:
    state = new_policy(SelectorConfig(embedding_dim=8, hidden_dim=4, num_layers=2), 0).state_dict()
    path = world.folder / "mine.ckpt"
    write_v2(path, V2Checkpoint(dict(state)))
    given = {"LEVER_LM_CHECKPOINT_PATH": str(path)}
    with pytest.raises(UserError, match="has 2 attention layers"):
        require_possible(Plan.of(world.experiment(**given)))
    with pytest.raises(UserError, match="NUM_LAYERS is 1, but the v2 checkpoint has 2"):
        require_possible(Plan.of(world.experiment(NUM_LAYERS="1", **given)))
    require_possible(Plan.of(world.experiment(**given), to="rce_checkpoints"))
