"""A plan: what it makes and why, what it leaves out, and what it refuses before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.steps import STEPS
from icd_assets_tests.worlds.manifests import World, new_world

ALL = [step.name for step in STEPS]


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
