"""What follows the cell in a v3 folder's name: the weights as they were typed, and the experiment's name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.folder_name import checked_name, split, weights
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.settings import Settings, assigned
from icd_assets.experiment.variants import variants
from icd_assets_tests.worlds.manifests import World, new_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def folder(experiment: Experiment) -> str:
    return experiment.paths.v3_folder.name.removeprefix("v3_RandSampler_m0")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ""),
        ({"HARD_WEIGHT": "2"}, "_h2_s1.0"),
        ({"HARD_WEIGHT": "2.0"}, "_h2.0_s1.0"),
        ({"HARD_WEIGHT": "1.50", "SOFT_WEIGHT": "1"}, "_h1.50_s1"),
        ({"HARD_WEIGHT": "1"}, "_h1_s1.0"),  # train_v3.sh compares texts
        ({"HARD_WEIGHT": "1.0", "SOFT_WEIGHT": "1.0"}, ""),
        ({"SOFT_WEIGHT": ".5"}, "_h1.0_s.5"),
        ({"HARD_WEIGHT": " 2 "}, "_h2_s1.0"),
        ({"HARD_WEIGHT": "1_0"}, "_h10.0_s1.0"),  # a number to Python, no text for a folder
        ({"HARD_WEIGHT": "2", "REWARD_MODE": "hard_only"}, "_hard_only"),
        ({"RUN_NAME": "kl012"}, "_kl012"),
        ({"RUN_NAME": "kl012", "HARD_WEIGHT": "2"}, "_h2_s1.0_kl012"),
        ({"RUN_NAME": "kl012", "REWARD_MODE": "legacy"}, "_legacy_kl012"),
    ],
)
def test_a_new_folder_is_named_as_train_v3_names_it(
    world: World, variables: dict[str, str], expected: str
) -> None:
    experiment = world.experiment(**variables)
    assert folder(experiment) == expected
    assert experiment.paths.evaluation.name == experiment.paths.v3_folder.name


@pytest.mark.parametrize(("first", "second"), [("2", "2.0"), ("2.0", "2"), ("2e0", "+2"), ("1", "1.0")])
def test_a_weight_written_in_two_ways_is_trained_once(world: World, first: str, second: str) -> None:
    made = world.cell(HARD_WEIGHT=first)
    again = world.experiment(HARD_WEIGHT=second, GRPO_EPOCHS="3")
    assert again.paths.v3_folder == made.paths.v3_folder
    assert Plan.of(again).to_make == []
    other = world.experiment(HARD_WEIGHT="3")
    assert other.paths.v3_folder != made.paths.v3_folder


def test_of_two_folders_of_one_reward_the_typed_one_is_used(world: World) -> None:
    world.cell(HARD_WEIGHT="2")
    theirs = world.experiment().in_folder("_h2.0_s1.0")  # upstream tells them apart
    for asset in ("rce_checkpoints", "grpo_checkpoints"):
        path = theirs.manifest_path(asset)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(world.experiment(HARD_WEIGHT="2").manifest_path(asset).read_bytes())
    assert folder(world.experiment(HARD_WEIGHT="2")) == "_h2_s1.0"
    assert folder(world.experiment(HARD_WEIGHT="2.0")) == "_h2.0_s1.0"
    untyped = assigned(Settings(), {"reward.hard_weight": 2.0})  # a launch from the UI
    assert folder(Experiment(theirs.cell, untyped, world.store, theirs.catalog)) == "_h2.0_s1.0"


def test_a_folder_of_the_users_own_is_not_taken_for_ours(world: World) -> None:
    """Nothing in it is adopted: what would be written there is not ours to decide."""
    paths = world.experiment(HARD_WEIGHT="2").paths
    paths.v3_folder.mkdir(parents=True)
    (paths.v3_folder / "rce_epoch1.pt").write_bytes(b"theirs")
    assert folder(world.experiment(HARD_WEIGHT="2.0")) == "_h2.0_s1.0"


def test_a_launch_without_text_finds_the_folder(world: World) -> None:
    made = world.cell(HARD_WEIGHT="2")
    untyped = assigned(Settings(), {"reward.hard_weight": 2.0, "grpo_checkpoints.grpo_epochs": 3})
    assert untyped.shared.reward_suffix is None
    experiment = Experiment(made.cell, untyped, world.store, made.catalog)
    assert Plan.of(experiment).to_make == []


def test_a_text_of_another_value_names_nothing(world: World) -> None:
    """``--set`` and Python may change a weight after the text was read."""
    typed = world.experiment(HARD_WEIGHT="2").settings
    changed = assigned(typed, {"reward.hard_weight": 3})
    assert folder(Experiment(world.experiment().cell, changed, world.store, world.experiment().catalog)) == (
        "_h3.0_s1.0"
    )


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", "", "a b", "-x", "_x", "é", "x" * 65, "a\nb", "a\x00", "x:y", "kl*", "$(x)"]
)
def test_a_hostile_name_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(UserError) as refused:
        checked_name(name)
    assert str(refused.value).count("\n") == 0 and str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("legacy", {}),
        ("Legacy", {}),
        ("hard_only_x", {}),
        ("h2_s1.0", {}),
        ("h2.0_s1_b", {}),
        ("separated", {"REWARD_MODE": "hard01_plus_gtprob"}),
    ],
)
def test_a_name_that_is_another_rewards_folder_is_refused(
    world: World, name: str, variables: dict[str, str]
) -> None:
    experiment = world.experiment(RUN_NAME=name, **variables)
    with pytest.raises(UserError, match="is another reward's; take another name"):
        _ = experiment.paths.v3_folder
    with pytest.raises(UserError, match="another reward's"):
        Plan.of(experiment)


def test_a_name_that_is_another_models_folder_is_refused(world: World) -> None:
    catalog = world.folder / "catalog.yaml"
    content = yaml.safe_load(catalog.read_text(encoding="utf-8"))
    content["models"]["m0_big"] = {**content["models"]["m0"], "aliases": ["big"]}
    catalog.write_text(yaml.safe_dump(content), encoding="utf-8")
    for name in ("big", "big_kl"):
        with pytest.raises(UserError, match="that of the model m0_big"):
            _ = world.experiment(RUN_NAME=name).paths.v3_folder
    assert folder(world.experiment(RUN_NAME="bigger")) == "_bigger"


def test_two_experiments_of_a_cell_keep_checkpoints_and_tables(world: World) -> None:
    plain = world.cell()
    before = {path: path.read_bytes() for path in world.root.rglob("*.json") if ".icd_assets" not in path.parts}
    named = world.cell(RUN_NAME="kl012", RCE_LR="1e-3")
    assert before.items() <= {path: path.read_bytes() for path in world.root.rglob("*.json")}.items()
    assert Plan.of(plain).to_make == Plan.of(named).to_make == []
    for asset in ("rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint", "evaluation"):
        assert plain.manifest_path(asset) != named.manifest_path(asset)
    for asset in ("candidate_pools", "beam_data", "v2_checkpoint", "embeddings", "rl_data"):
        assert plain.manifest_path(asset) == named.manifest_path(asset)


def test_the_experiments_that_are_there(world: World) -> None:
    assert variants(world.experiment()) == []
    for variables in ({}, {"RUN_NAME": "b"}, {"HARD_WEIGHT": "2"}, {"REWARD_MODE": "legacy", "RUN_NAME": "a"}):
        world.cell(**variables)
    (world.root / "d0/model_cpk/v3_RandSampler_m0_not a name").mkdir()
    found = variants(world.experiment(REWARD_MODE="soft_only"))
    assert [one.suffix for one in found] == ["", "_b", "_h2_s1.0", "_legacy_a"]
    assert [one.reward.mode for one in found] == ["hard_plus_soft"] * 3 + ["legacy"]
    assert [one.settings.shared.name for one in found] == [None, "b", None, "a"]
    assert found[2].reward.hard_weight == 2.0
    assert all(one.manifest("evaluation") is not None for one in found)


def test_a_folder_of_a_reward_that_the_task_lacks_is_no_experiment(world: World) -> None:
    with pytest.raises(UserError, match="REWARD_MODE cider is not a reward of the task vqa"):
        world.experiment().in_folder("_cider")
    with pytest.raises(UserError, match="cannot be part of a folder's name"):
        world.experiment().in_folder("_kl 012")


@given(st.text(max_size=20))
def test_what_is_split_is_whole(text: str) -> None:
    part, name = split(f"_{text}")
    assert f"{part}{'' if name is None else f'_{name}'}" == f"_{text}" or name is None
    assert weights(part) is None or part == "" or part.startswith("_h")
