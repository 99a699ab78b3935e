"""prune removes what no kept checkpoint needs, records it, and never what is the user's."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from icd_assets.evaluation.earlier import keep
from icd_assets.experiment.settings import assigned
from icd_assets.runtime.locks import Holder
from icd_assets.upkeep.prune import removals
from icd_assets_tests.lineage.test_lineage import RL, V3, chain, node
from icd_assets_tests.upkeep.test_status import reasons, states
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import KEY, STEP_NAMES, World, changed, document
from icd_assets_tests.worlds.workplace import Workplace

ALL = {f"rce_epoch{n}.pt" for n in range(1, 6)} | {f"grpo_epoch{n}.pt" for n in range(1, 4)}


@pytest.fixture
def cell(world: World) -> World:
    """Five RCE and three GRPO epochs; the best one is the second, the last GRPO one is converted."""
    world.cell()
    return world


def epochs(world: World) -> set[str]:
    return {path.name for path in (world.root / V3).glob("*.pt")}


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("best", {"rce_epoch2.pt", "rce_epoch5.pt", "grpo_epoch2.pt", "grpo_epoch3.pt"}),
        ("last", {"rce_epoch5.pt", "grpo_epoch3.pt"}),
        ("2", {"rce_epoch4.pt", "rce_epoch5.pt", "grpo_epoch2.pt", "grpo_epoch3.pt"}),
        ("9", ALL),
    ],
)
def test_which_epochs_stay(cell: World, run: Run, keep: str, kept: set[str]) -> None:
    shown = run("prune", "--keep", keep)
    assert epochs(cell) == ALL  # only shown
    assert all((name in shown.output) == (name not in kept) for name in ALL)
    assert run("prune", "--keep", keep, "--yes").code == 0
    assert epochs(cell) == kept
    assert states(run) == dict.fromkeys(STEP_NAMES, "fresh")  # nothing is trained again for it
    assert "nothing to prune" in run("prune", "--keep", keep).output


def test_what_was_removed_is_recorded(cell: World, run: Run) -> None:
    before = document(cell.root / V3 / "rce_checkpoints.manifest.json")
    run("prune", "--keep", "last", "--yes")
    after = document(cell.root / V3 / "rce_checkpoints.manifest.json")
    assert after["data_version"] == before["data_version"]
    assert [record["pruned"] is None for record in after["files"]] == [False] * 4 + [True]
    trained = node(chain(run, KEY), "rce_checkpoints")
    assert trained["state"] == "current"
    assert trained["files"][0]["pruned"] == after["files"][0]["pruned"]
    assert "4 files pruned, last on" in run("lineage", KEY).output
    assert run("lineage", KEY, "--verify").code == 0


def test_the_converted_epoch_stays(world: World, run: Run) -> None:
    experiment = world.experiment()
    for asset in STEP_NAMES:
        if asset != "grpo_checkpoints":
            world.make(experiment, asset)
    path = world.root / V3 / "v2format_checkpoint.manifest.json"
    content = document(path)
    content["facts"]["source"] = "rce_epoch3.pt"
    path.write_text(json.dumps(content), encoding="utf-8")
    run("prune", "--keep", "last", "--yes")
    assert epochs(world) == {"rce_epoch3.pt", "rce_epoch5.pt"}


def test_age_and_cell(cell: World, run: Run) -> None:
    other = "d0|MixSampler/m0"
    cell.cell(other)
    assert "nothing to prune" in run("prune", "--keep", "last", "--older-than", "9999w").output
    run("prune", "--keep", "last", "--older-than", "1h", other, "--yes")
    assert epochs(cell) == ALL
    assert {p.name for p in (cell.root / V3.replace("Rand", "Mix")).glob("*.pt")} == {
        "rce_epoch5.pt",
        "grpo_epoch3.pt",
    }


def test_what_the_user_changed_imported_or_linked_is_left(cell: World, run: Run, tmp_path: Path) -> None:
    with changed(cell.root / V3 / "rce_epoch1.pt"):
        run("prune", "--keep", "last", "--yes")
        assert "rce_epoch1.pt" in epochs(cell)
    grpo = cell.root / V3 / "grpo_checkpoints.manifest.json"
    other = "d0|MixSampler/m0"
    cell.cell(other)
    content = document(cell.root / V3.replace("Rand", "Mix") / "rce_checkpoints.manifest.json")
    content["origin"] = "adopted"
    (cell.root / V3.replace("Rand", "Mix") / "rce_checkpoints.manifest.json").write_text(json.dumps(content))
    assert "RCE" not in run("prune", "--keep", "last", other).output
    third = "d0|TextSimSampler/m0"
    cell.cell(third)
    folder = cell.root / V3.replace("Rand", "TextSim")
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    shown = run("prune", "--keep", "last", third, "--yes").output
    assert "outside the results root, behind a link" in shown
    assert len(list((tmp_path / "elsewhere").glob("*.pt"))) == 8
    assert grpo.is_file()


def test_a_hostile_manifest_removes_nothing(cell: World, run: Run, tmp_path: Path) -> None:
    victim = tmp_path / "victim.pt"
    victim.write_bytes((cell.root / V3 / "rce_epoch1.pt").read_bytes())
    path = cell.root / V3 / "rce_checkpoints.manifest.json"
    content = document(path)
    content["files"][0]["path"] = os.path.relpath(victim, cell.root)
    path.write_text(json.dumps(content), encoding="utf-8")
    run("prune", "--keep", "last", "--yes")
    assert victim.is_file()
    assert {f"rce_epoch{n}.pt" for n in range(1, 6)} <= epochs(cell)


def test_leftovers_of_interrupted_and_replaced_work(cell: World, run: Run) -> None:
    private = cell.root / ".icd_assets"
    old, recent = private / "staging/rl_data-0-1", private / "staging/rl_data-0-2"
    for folder in (old, recent):
        folder.mkdir(parents=True)
        (folder / "half.json").write_text("half", encoding="utf-8")
    features = private / "features/0123456789abcdef"
    features.mkdir(parents=True)
    long_ago = time.time() - 8 * 86400
    for path in (old / "half.json", old, features):
        os.utime(path, (long_ago, long_ago))
    # an epoch of an earlier training that somebody put back, and one whose manifest was lost
    epoch = cell.root / V3 / "rce_epoch5.pt"
    before = epoch.read_bytes()
    cell.make(cell.experiment(RCE_EPOCHS="2", GRPO_EPOCHS="3"), "rce_checkpoints", "run-2")
    epoch.write_bytes(before)
    (cell.root / f"{RL}.manifest.json").unlink()
    for path in (epoch, cell.root / RL):
        os.utime(path, (long_ago, long_ago))
    with cell.store.lock(cell.root / "x.manifest.json", Holder("rl_data of another cell")):
        shown = run("prune").output
        assert "unfinished work is left alone while rl_data of another cell" in shown
        assert "staging" not in shown
    run("prune", "--yes")
    assert not old.exists() and not features.exists() and not epoch.exists()
    assert recent.exists()
    assert (cell.root / RL).is_file()
    lines = (cell.store.history / "pruned.jsonl").read_text(encoding="utf-8").splitlines()
    removed = {json.loads(line)["path"] for line in lines}
    assert removed == {
        ".icd_assets/staging/rl_data-0-1",
        ".icd_assets/features/0123456789abcdef",
        f"{V3}/rce_epoch5.pt",
    }


def test_what_is_being_made_is_left(cell: World, run: Run) -> None:
    path = cell.experiment().manifest_path("rce_checkpoints")
    with cell.store.lock(path, Holder("rce_checkpoints of d0")):
        shown = run("prune", "--keep", "last").output
    assert "left alone: rce_checkpoints of d0|RandSampler/m0 is being made by rce_checkpoints of d0" in shown
    assert "RCE epoch" not in shown
    assert "GRPO epoch" in shown


def test_a_pruned_epoch_that_was_put_back_is_an_epoch_again(cell: World, run: Run) -> None:
    epoch = cell.root / V3 / "rce_epoch1.pt"
    content = epoch.read_bytes()
    run("prune", "--keep", "last", "--yes")
    epoch.write_bytes(content)
    assert states(run)["rce_checkpoints"] == "fresh"
    epoch.write_bytes(content + b"x")
    assert "is no longer what" in reasons(run)["rce_checkpoints"]


@pytest.mark.parametrize("lost", ["damaged", "removed"])
def test_beams_beside_those_of_other_settings_outlive_their_manifest(cell: World, run: Run, lost: str) -> None:
    one = cell.experiment()
    other = replace(one, settings=assigned(one.settings, {"shared.pool_size": 32}))
    for asset in ("candidate_pools", "beam_data"):
        cell.make(other, asset, "run-2")
    kept = [one.paths.beam_data, one.paths.train_pools]
    long_ago = time.time() - 30 * 86400
    for path in kept:
        os.utime(path, (long_ago, long_ago))
        manifest = path.with_name(f"{path.name}.manifest.json")
        manifest.write_text("{", encoding="utf-8") if lost == "damaged" else manifest.unlink()
    ended = run("prune", "--older-than", "7d", "--yes")
    assert all(path.is_file() for path in kept)
    assert (f"what {kept[0].name}.manifest.json names: it cannot be read" in ended.output) == (lost == "damaged")
    assert ("orphaned" in run("verify").output) == (lost == "removed")


def test_a_training_that_lost_its_last_epoch_keeps_the_others(cell: World, run: Run) -> None:
    (cell.root / V3 / "rce_epoch5.pt").unlink()
    ended = run("prune", "--keep", "last", "--yes")
    assert epochs(cell) == {*(f"rce_epoch{n}.pt" for n in range(1, 5)), "grpo_epoch3.pt"}
    assert "left alone: rce_checkpoints of d0|RandSampler/m0: " in ended.output
    assert "rce_epoch5.pt is gone" in ended.output


def test_the_converted_epoch_stays_though_its_manifest_is_damaged(world: World, run: Run) -> None:
    experiment = world.experiment()
    for asset in STEP_NAMES:
        if asset != "grpo_checkpoints":
            world.make(experiment, asset)
    (kept,) = world.store.history.glob("v2format_checkpoint/*.json")
    content = document(kept)
    content["facts"]["source"] = "rce_epoch3.pt"
    kept.write_text(json.dumps(content), encoding="utf-8")
    (world.root / V3 / "v2format_checkpoint.manifest.json").write_text("{", encoding="utf-8")
    run("prune", "--keep", "last", "--yes")
    assert epochs(world) == {"rce_epoch3.pt", "rce_epoch5.pt"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--keep", "0"), "--keep 0: give best, last"),
        (("--keep", "worst"), "give best, last"),
        (("--older-than", "30"), "--older-than 30: give a number"),
        (("--older-than", "-1d"), "give a number"),
        (("d0|RandSampler/m9",), "unknown model"),
    ],
)
def test_bad_words_are_one_sentence(run: Run, words: tuple[str, ...], sentence: str) -> None:
    ended = run("prune", *words)
    assert (ended.code, sentence in ended.error) == (2, True), ended.error


@pytest.mark.slow
def test_after_pruning_a_real_cell_nothing_is_trained_again(copied: Workplace) -> None:
    """And what would need a pruned epoch says how to get it back."""
    recipe = {"RCE_EPOCHS": "5", "GRPO_EPOCHS": "3", "FREEZE_BACKBONE_IN_GRPO": "true"}
    ended = copied.run("prune", "--keep", "last", "--yes")
    assert ended.returncode == 0, ended.stderr
    planned = copied.train(**recipe)
    assert "nothing had to be done" in planned.stdout, planned.stdout
    assert "rce_epoch1.pt" not in planned.stdout
    folder = copied.results / "demo/model_cpk/v3_RandSampler_tiny_vl"
    best = document(folder / "rce_checkpoints.manifest.json")["facts"]["best_epoch"]
    if best != 5:
        asked = copied.train(
            *("--to", "v2format_checkpoint", "--set", "v2format_checkpoint.epoch=best"),
            RCE_EPOCHS="5",
        )
        assert asked.returncode == 2
        assert "was pruned; make it again with --force rce_checkpoints" in asked.stderr


def test_a_best_epoch_that_is_no_number_is_one_sentence(cell: World) -> None:
    experiment = cell.experiment()
    path = experiment.manifest_path("rce_checkpoints")
    content = document(path)
    content["facts"]["best_epoch"] = "the \x1b[2Jthird"
    path.write_text(json.dumps(content), encoding="utf-8")
    found, alone = removals(cell.store, "best")
    assert not any("rce_epoch" in one.path.name for one in found)
    (sentence,) = [one for one in alone if "as its best epoch; make it again, or give --keep last" in one]
    assert sentence.isprintable()


def replaced(cell: World, day: int) -> Path:
    """An evaluation that another took the place of."""
    experiment = cell.experiment()
    manifest = experiment.store.require(experiment.manifest_path("evaluation"), "evaluation")
    (experiment.paths.evaluation / "predictions.parquet").write_bytes(b"answers")
    dated = {"created_at": f"2026-01-0{day}T03:04:05+00:00", "data_version": str(day)}
    kept = keep(experiment.paths.evaluation, manifest.model_copy(update=dated))
    (experiment.paths.evaluation / "predictions.parquet").unlink()
    assert kept is not None
    return kept


def test_replaced_evaluations_go_only_where_it_is_asked(cell: World, run: Run) -> None:
    first, second, third = (replaced(cell, day) for day in (1, 2, 3))
    run("prune", "--keep", "9", "--yes")
    assert "nothing to prune" in run("prune", "--keep", "9", "--earlier", "3").output
    assert "replaced, made 2026-01-02" in run("prune", "--keep", "9", "--earlier", "1").output
    assert "nothing to prune" in run("prune", "--keep", "9", "--earlier", "0", "d0|MixSampler/m0").output
    assert "nothing to prune" in run("prune", "--keep", "9", "--earlier", "0", "--older-than", "9999w").output
    assert first.exists() and second.exists()
    assert run("prune", "--keep", "9", "--earlier", "1", "--yes").code == 0
    assert not first.exists() and not second.exists() and third.exists()
    removed = (cell.store.history / "pruned.jsonl").read_text(encoding="utf-8")
    assert f"earlier/{first.name}" in removed


def test_replaced_evaluations_with_files_of_the_user_or_behind_a_link_stay(
    cell: World, run: Run, tmp_path: Path
) -> None:
    mine, linked = replaced(cell, 1), replaced(cell, 2)
    (mine / "notes.txt").write_text("mine", encoding="utf-8")
    linked.rename(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    run("prune", "--keep", "9", "--earlier", "0", "--yes")
    assert (mine / "notes.txt").is_file() and (tmp_path / "elsewhere/manifest.json").is_file()


def test_half_of_a_copy_of_an_evaluation_is_unfinished_work(cell: World, run: Run) -> None:
    half = replaced(cell, 1)
    (half / "manifest.json").unlink()
    assert {Path(path).parent for path in json.loads(run("verify", "--json").output)["unfinished"]} == {half}
    assert "nothing to prune" in run("prune", "--keep", "9").output  # it may be meant to go on
    long_ago = time.time() - 8 * 86400
    for path in half.iterdir():
        os.utime(path, (long_ago, long_ago))
    run("prune", "--keep", "9", "--yes")
    assert not list(half.glob("*"))


def test_verify_reads_replaced_evaluations(cell: World, run: Run) -> None:
    kept = replaced(cell, 1)
    found = json.loads(run("verify", "--json").output)
    assert found["rotted"] == found["foreign"] == found["unfinished"] == []
    (kept / "comparison.json").write_bytes(b"other")
    (line,) = json.loads(run("verify", "--json").output)["rotted"]
    assert "comparison.json is no longer what evaluation wrote (earlier, d0|RandSampler/m0)" in line
