"""The table of all cells and assets: right, fast, and light."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd_assets.experiment import recipes
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets.pools.config import SAMPLERS
from icd_assets.runtime.locks import Holder
from icd_assets.upkeep.status import Survey
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import KEY, STEP_NAMES, World, changed, document, hundred_cells
from icd_assets_tests.worlds.workplace import ROOT

RL = "d0/generated_data/rl_data_RandSampler_m0.json"


def table(run: Run, *words: str) -> Any:
    ended = run("status", "--json", *words)
    assert ended.code == 0, ended.error
    return json.loads(ended.output)["cells"]


def states(run: Run, *words: str, key: str = KEY) -> dict[str, str]:
    """Of the steps of Lever-Plus' chain."""
    return {asset: one["state"] for asset, one in table(run, *words)[key].items() if asset in STEP_NAMES}


def reasons(run: Run, *words: str) -> dict[str, str]:
    return {asset: one["reason"] for asset, one in table(run, *words)[KEY].items() if one["reason"]}


def test_nothing_then_all_fresh(world: World, run: Run) -> None:
    assert table(run) == {}
    assert "nothing is made yet" in run("status").output
    assert set(table(run, "--all")) == {f"d0|{s}/m0" for s in SAMPLERS} | set(table(run, "--all"))
    world.cell(run_id="run-7")
    assert set(table(run)) == {KEY}  # the embeddings that other cells would share do not make them cells
    assert states(run) == dict.fromkeys(STEP_NAMES, "fresh")
    one = table(run)[KEY]["rl_data"]
    assert (one["run_id"], one["origin"], one["reason"]) == ("run-7", "made", None)
    assert "has never been made" in run("why", "single_labels", "d0", "MixSampler", "m0").output
    assert "made by run run-7" in run("why", "rl_data", KEY).output


def test_the_recipe_is_looked_for_on_the_disk_once_a_cell(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = world.cell()
    settings = world.experiment(RECIPE="auto").settings
    asked = []
    looked = recipes.v2_is_there

    def counting(one: Experiment) -> bool:
        asked.append(one.cell)
        return looked(one)

    monkeypatch.setattr(recipes, "v2_is_there", counting)
    cells = [experiment.cell, *(replace(experiment.cell, sampler=name) for name in list(SAMPLERS)[1:])]
    found = list(Survey(world.store, experiment.catalog, settings).cells(cells, empty=True))
    assert found[0].state("rce_checkpoints") == "fresh"
    assert len(asked) <= 2 * len(found)


def test_grpo_that_is_not_in_the_recipe(world: World, run: Run) -> None:
    experiment = world.experiment()
    for asset in STEP_NAMES:
        if asset != "grpo_checkpoints":
            world.make(experiment, asset)
    assert states(run)["grpo_checkpoints"] == "left out"
    assert "no GRPO epochs" in run("why", "grpo_checkpoints", KEY).output
    assert states(run, "--grpo-epochs", "3")["grpo_checkpoints"] == "missing"
    assert states(run, "--grpo-epochs", "3")["v2format_checkpoint"] == "stale"


def test_a_changed_setting_is_judged_as_train_would(world: World, run: Run, monkeypatch: Any) -> None:
    world.cell()
    assert reasons(run, "--rce-lr", "0.002") == {
        "rce_checkpoints": "config changed: rce_lr 0.001 → 0.002",
        "grpo_checkpoints": "after rce_checkpoints",
        "v2format_checkpoint": "after rce_checkpoints, grpo_checkpoints",
        "evaluation": "after rce_checkpoints, grpo_checkpoints, v2format_checkpoint",
    }
    monkeypatch.setenv("RCE_LR", "0.002")
    assert states(run)["rce_checkpoints"] == "stale"
    explained = run("why", "evaluation", KEY).output
    assert "rce_checkpoints: config: rce_lr 0.001 → 0.002" in explained
    assert "evaluation: comes after" in explained
    assert "rl_data:" not in explained  # fresh


def test_new_rl_data_and_who_made_it(world: World, run: Run) -> None:
    experiment = world.cell()
    world.make(experiment, "rl_data", "run-2", made="30:00", note="other answers")
    assert reasons(run)["rce_checkpoints"] == "rl_data changed"
    explained = run("why", "rce_checkpoints", KEY).output
    assert "of run run-1, 2026-01-02T03:00:00+00:00, there is" in explained
    assert "of run run-2, 2026-01-02T03:30:00+00:00" in explained


def test_one_changed_byte(world: World, run: Run) -> None:
    world.cell()
    with changed(world.root / RL):
        assert "is no longer what rl_data wrote" in reasons(run)["rl_data"]
        assert reasons(run)["rce_checkpoints"] == "after rl_data"
        assert f"{KEY}: rl_data: " in run("status").output
        assert "is no longer what rl_data wrote" in run("why", "rce_checkpoints", KEY).output
    assert reasons(run) == {}


def test_a_byte_changed_behind_size_and_mtime_is_known_once_verified(world: World, run: Run) -> None:
    world.cell()
    assert reasons(run) == {}
    with changed(world.root / RL, hidden=True):
        assert reasons(run) == {}  # a look believes what it remembers
        assert run("lineage", "rl_data", KEY, "--verify").code == 2
        assert "is no longer what rl_data wrote" in reasons(run)["rl_data"]


def test_a_code_change(world: World, run: Run) -> None:
    world.cell()
    path = world.root / f"{RL}.manifest.json"
    content = document(path)
    content["want"]["code_version"] = "0"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert reasons(run)["rl_data"].startswith("code version 0 → ")


def test_adopted_is_shown(world: World, run: Run) -> None:
    world.cell()
    path = world.root / f"{RL}.manifest.json"
    content = document(path)
    content |= {"origin": "adopted", "run_id": None}
    content["want"]["inputs"] = {}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert table(run)[KEY]["rl_data"]["origin"] == "adopted"
    assert "adopted" in run("status").output
    assert "adopted on 2026" in run("why", "rl_data", KEY).output


def agree(world: World, run: Run, *expected: str, **variables: str) -> dict[str, str]:
    """``expected`` is what both the table and a plan with GRPO would make; the states."""
    found = states(run, "--grpo-epochs", "3")
    experiment = world.experiment(GRPO_EPOCHS="3", **variables)
    planned = set(Plan.of(experiment).to_make)
    assert {asset for asset, state in found.items() if state in ("stale", "missing")} == planned == set(expected)
    return found


def adopt(world: World, asset: str, *inputs: str) -> None:
    """As if it were Lever-Plus' and only ``inputs`` were known of it."""
    path = world.experiment().manifest_path(asset)
    content = document(path)
    content |= {"origin": "adopted", "run_id": None}
    content["want"]["inputs"] = {name: content["want"]["inputs"][name] for name in inputs}
    path.write_text(json.dumps(content), encoding="utf-8")


def remove(world: World, asset: str) -> None:
    path = world.experiment().manifest_path(asset)
    for record in document(path)["files"]:
        (world.root / record["path"]).unlink()
    path.unlink()


@pytest.mark.parametrize("beams", ["there", "of other settings", "never made"])
def test_an_imported_v2_checkpoint_needs_no_beams(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch, beams: str
) -> None:
    mine = world.folder / "mine.ckpt"
    mine.write_bytes(b"mine")
    monkeypatch.setenv("LEVER_LM_CHECKPOINT_PATH", str(mine))
    world.cell(LEVER_LM_CHECKPOINT_PATH=str(mine))
    if beams == "never made":
        remove(world, "beam_data")
    elif beams == "of other settings":
        path = world.experiment().manifest_path("beam_data")
        path.write_text(path.read_text(encoding="utf-8").replace('"rank"', '"order"'), encoding="utf-8")
    found = agree(world, run, LEVER_LM_CHECKPOINT_PATH=str(mine))
    assert found["beam_data"] == ("fresh" if beams == "there" else "left out")
    assert "never been made" not in run("why", "evaluation", KEY).output
    if beams != "there":
        assert "only the training of a v2 checkpoint reads them" in run("why", "beam_data", KEY).output
    mine.unlink()
    assert states(run)["v2_checkpoint"] == "unjudged"  # what its path leads to is not known


def test_an_adopted_v2_checkpoint_comes_after_what_is_known_of_it(world: World, run: Run) -> None:
    world.cell()
    adopt(world, "v2_checkpoint", "dataset", "encoder")
    remove(world, "beam_data")
    remove(world, "candidate_pools")
    agree(world, run, "candidate_pools", *STEP_NAMES[4:])
    assert states(run)["v2_checkpoint"] == "fresh"


def test_adopted_grpo_without_rce(world: World, run: Run) -> None:
    world.cell()
    adopt(world, "grpo_checkpoints")
    remove(world, "rce_checkpoints")
    agree(world, run, "rce_checkpoints", "v2format_checkpoint", "evaluation")
    assert "fresh" in run("why", "grpo_checkpoints", KEY).output


def test_what_a_model_that_cannot_be_asked_answered_stays(world: World, run: Run) -> None:
    world.cell()
    path = world.folder / "catalog.yaml"
    text = path.read_text(encoding="utf-8").replace("  m0:", "  m0:\n    unsupported: gone; take another")
    path.write_text(text, encoding="utf-8")
    remove(world, "candidate_pools")
    agree(world, run, *(name for name in STEP_NAMES if name not in ("beam_data", "rl_data", "evaluation")))


def test_a_live_writer_is_running_and_a_dead_one_is_not(world: World, run: Run) -> None:
    experiment = world.cell()
    path, store = experiment.manifest_path("rce_checkpoints"), world.store
    with store.lock(path, Holder("rce_checkpoints of d0", "0123456789")):
        one = table(run)[KEY]["rce_checkpoints"]
        assert one["state"] == "running"
        assert "run 01234567" in one["writer"]
        assert states(run)["evaluation"] == "stale"  # it will be made after
        assert "is being made by rce_checkpoints of d0" in run("status").output
        assert "is being made right now" in run("why", "rce_checkpoints", KEY).output
    assert states(run) == dict.fromkeys(STEP_NAMES, "fresh")


def test_a_broken_manifest_is_one_sentence_in_its_cell(world: World, run: Run) -> None:
    world.cell()
    (world.root / f"{RL}.manifest.json").write_text("{", encoding="utf-8")
    assert "is not a manifest of icd_assets" in reasons(run)["rl_data"]
    assert states(run)["beam_data"] == "fresh"


def test_weights_that_are_not_here_leave_the_rest_judged(world: World, run: Run) -> None:
    world.cell()
    (world.folder / "weights/m0").rename(world.folder / "weights/elsewhere")
    found = states(run)
    assert (found["rl_data"], found["rce_checkpoints"]) == ("unjudged", "fresh")
    with changed(world.root / RL):
        assert states(run)["rl_data"] == "stale"


def test_nothing_is_fetched_or_generated(world: World, run: Run) -> None:
    """The packaged catalog's cells: a hub model that is not here, a demo dataset that is not written."""
    found = table(run, "demo", "rand_sampler", "--all")
    assert found["demo|RandSampler/tiny_vl"]["single_labels"]["state"] == "missing"
    assert not (world.folder / "datasets/demo").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("status", "d9"), "unknown dataset 'd9'"),
        (("status", "d0|RandSampler"), "not a partition key"),
        (("status", "d0", "rand_sampler", "model9"), "unknown model 'model9'"),
        (("status", "--rce-epochs", "-1"), "RCE_EPOCHS=-1"),
        (("why", "rl", KEY), "there is no asset 'rl'"),
        (("why", "rl_data", "d0"), "not a partition key"),
    ],
)
def test_bad_words_are_one_sentence(run: Run, words: tuple[str, ...], sentence: str) -> None:
    ended = run(*words)
    assert (ended.code, sentence in ended.error) == (2, True), ended.error


def test_a_cell_the_catalog_forgot_is_named(world: World, run: Run) -> None:
    world.cell()
    path = world.folder / "catalog.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("m0:", "m1:"), encoding="utf-8")
    assert f"{KEY}: not in the catalog of today" in run("status").output


@pytest.mark.slow
def test_a_hundred_cells_are_judged_without_heavy_imports(tmp_path: Path) -> None:
    """As a process of its own; benchmarks/status_100_cells.py says how long it takes."""
    hundred_cells(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ICD_CATALOG": str(tmp_path / "catalog.yaml")}
    environment |= {"DAGSTER_HOME": str(tmp_path)}
    command = program("heavy_command", "status", "--json")
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    heavy = {"torch", "numpy", "dagster", "transformers", "pyarrow"}
    assert not heavy & set(json.loads(ended.stderr.splitlines()[-1]))
    cells = json.loads(ended.stdout)["cells"]
    assert len(cells) == 100
    wrong = {
        (key, asset): one
        for key, cell in cells.items()
        for asset, one in cell.items()
        if one["state"] != ("fresh" if asset in STEP_NAMES else "left out")
    }
    assert not wrong
