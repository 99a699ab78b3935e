"""What a plan says besides its table: what is replaced, kept, left; before anything is made."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.open_cell import as_typed
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.plan_notes import notes
from icd_assets.experiment.settings import assigned
from icd_assets.upkeep.status import Survey
from icd_assets.upkeep.why import fresh
from icd_assets_tests.worlds.manifests import World, new_world

BESIDE = "what is made goes into icd_assets/ beside it"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def typed(world: World, **variables: str) -> Experiment:
    found = world.experiment(**variables)
    return Experiment(found.cell, as_typed(found.settings, "d0"), world.store, found.catalog)


def said(e: Experiment, **asked: Any) -> list[str]:
    return list(notes(Plan.of(e, **asked)))


def adopt(e: Experiment, asset: str, epochs: int) -> None:
    """Turns an artifact into one that was adopted with so many epochs."""
    path = e.manifest_path(asset)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest |= {"origin": "adopted", "run_id": None, "unknown": ["config", "seed"]}
    manifest["want"] |= {"code_version": "unknown", "config": {}, "inputs": {}}
    manifest["facts"]["epochs"] = epochs
    manifest["files"] = manifest["files"][:epochs]
    for record in manifest["files"]:
        (e.store.root / record["path"]).write_bytes(b"theirs")
        record |= {"size": 6, "sha256": sha256(b"theirs").hexdigest()}
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_of_nothing_and_of_what_is_there_nothing_is_said(world: World) -> None:
    assert said(world.experiment()) == []
    assert said(world.cell()) == []


def test_other_settings_replace_checkpoints_and_table(world: World) -> None:
    world.cell()
    (sentence,) = said(world.experiment(GRPO_EPOCHS="3", RCE_LR="0.002"))
    assert sentence == (
        "replaces rce_checkpoints, grpo_checkpoints, v2format_checkpoint, evaluation of v3_RandSampler_m0 "
        "(rce_lr 0.001 → 0.002); --name NAME keeps both"
    )
    assert said(world.experiment(GRPO_EPOCHS="3", RCE_LR="0.002", RUN_NAME="b")) == []


def test_a_weight_that_no_folder_names_is_a_setting_too(world: World) -> None:
    world.cell(REWARD_MODE="hard_only")
    (sentence,) = said(world.experiment(REWARD_MODE="hard_only", HARD_WEIGHT="2", GRPO_EPOCHS="3"))
    assert "of v3_RandSampler_m0_hard_only (reward.hard_weight 1.0 → 2.0); --name NAME keeps both" in sentence


def test_what_all_experiments_share_is_not_kept_by_a_name(world: World) -> None:
    world.cell()
    found = said(world.experiment(GRPO_EPOCHS="3", REWARD_MODE="hard01_plus_gtprob"))
    assert found == [
        "replaces rl_data (gt_prob False → True), which the cell's experiments share, whatever their names"
    ]


def test_back_to_rce_only_replaces_the_table(world: World) -> None:
    e = typed(world, GRPO_EPOCHS="3")
    for asset in [item.step.name for item in Plan.of(e).steps]:
        world.make(e, asset)
    (sentence,) = said(typed(world, GRPO_EPOCHS="0"))
    assert sentence.startswith("replaces v2format_checkpoint, evaluation of v3_RandSampler_m0 (phase grpo → rce)")


def test_what_is_shared_is_replaced_for_its_own_reasons(world: World) -> None:
    e = typed(world, GRPO_EPOCHS="3")
    for asset in [item.step.name for item in Plan.of(e).steps]:
        world.make(e, asset)
    e = typed(world, GRPO_EPOCHS="0")
    own, shared = said(replace(e, settings=assigned(e.settings, {"v2_checkpoint.lr": 0.5})))
    assert "lr 0.0001 → 0.5" in shared and "phase" not in shared
    assert "lr 0.0001 → 0.5" in own and "phase grpo → rce" in own


def test_new_bytes_of_an_input_are_no_other_setting(world: World) -> None:
    cell = world.cell()
    (world.folder / "datasets/d0/train_q.json").write_text("{}", encoding="utf-8")
    fresh_look = new_look(world)
    assert Plan.of(fresh_look).to_make
    assert said(fresh_look) == []
    assert cell.cell == fresh_look.cell


def new_look(world: World) -> Experiment:
    return World(world.folder).experiment(GRPO_EPOCHS="3")


def test_one_value_in_another_text_is_said(world: World) -> None:
    world.cell(HARD_WEIGHT="2")
    (sentence,) = said(world.experiment(HARD_WEIGHT="2.0", GRPO_EPOCHS="3"))
    assert sentence == (
        "v3_RandSampler_m0_h2_s1.0 has the same weights as v3_RandSampler_m0_h2.0_s1.0 and is used; --name NAME "
        "trains another"
    )
    assert said(world.experiment(HARD_WEIGHT="2", GRPO_EPOCHS="3")) == []
    assert said(world.experiment(HARD_WEIGHT="2.0"), to="rl_data") == []


def test_adopted_epochs_that_are_not_those_asked_for(world: World) -> None:
    cell = world.cell()
    adopt(cell, "rce_checkpoints", 2)
    adopt(cell, "grpo_checkpoints", 1)
    found = said(world.experiment(GRPO_EPOCHS="3"), to="grpo_checkpoints")
    assert [sentence.partition(":")[0] for sentence in found] == ["rce_checkpoints", "grpo_checkpoints"]
    assert "2 adopted epochs although RCE_EPOCHS=5" in found[0] and "--force rce_checkpoints trains 5" in found[0]
    assert "1 adopted epoch although GRPO_EPOCHS=3" in found[1] and "--force grpo_checkpoints trains 3" in found[1]
    found = said(world.experiment(GRPO_EPOCHS="0", RCE_EPOCHS="2"), to="rce_checkpoints")
    assert found == ["grpo_checkpoints: 1 adopted epoch left out by GRPO_EPOCHS=0; GRPO_EPOCHS=1 takes them"]


def test_what_is_forced_goes_beside_the_users_files(world: World) -> None:
    cell = world.cell()
    adopt(cell, "rce_checkpoints", 2)
    found = said(world.experiment(), to="rce_checkpoints", force=("rce_checkpoints",))
    assert found == [f"rce_checkpoints: rce_epoch1.pt and 1 more are yours and stay; {BESIDE}"]


def test_files_that_nobody_adopted_are_named_before_anything_is_made(world: World) -> None:
    paths = world.experiment().paths
    for path in (paths.rl_data, paths.epoch_checkpoint("rce", 1), paths.epoch_checkpoint("rce", 2)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs", encoding="utf-8")
    found = said(world.experiment())
    assert found == [
        f"rl_data: rl_data_RandSampler_m0.json is yours and stays; {BESIDE}; icd-assets adopt takes yours instead",
        "rce_checkpoints: rce_epoch1.pt and 1 more are yours and stay; "
        f"{BESIDE}; icd-assets adopt takes yours instead",
    ]


def test_of_what_is_adopted_the_unknown_is_named(world: World) -> None:
    cell = world.cell()
    adopt(cell, "rce_checkpoints", 2)
    status = Survey(world.store, cell.catalog, cell.settings).status(cell.cell)
    (one,) = [one for one in status.assets if one.asset == "rce_checkpoints"]
    assert one.state == "fresh" and one.manifest is not None
    sentence = fresh(one.manifest)
    assert "up to date" not in sentence
    assert "unknown, and so compared with no setting: config, seed" in sentence
    (made,) = [one for one in status.assets if one.asset == "rl_data"]
    assert made.manifest is not None and "code, config, inputs and files are up to date" in fresh(made.manifest)


def test_a_file_of_ours_that_was_changed_is_not_lost(world: World) -> None:
    cell = world.cell()
    path = cell.files("evaluation")[0]
    path.write_text("with remarks", encoding="utf-8")
    (sentence,) = said(new_look(world))
    aside = path.with_name(f"{path.name}.kept-{sha256(b'with remarks').hexdigest()[:8]}")
    assert sentence == f"evaluation: {path.name} was changed since it was made; it is kept as {aside.name}"
    world.make(new_look(world), "evaluation", note="again")
    assert aside.read_text(encoding="utf-8") == "with remarks"
