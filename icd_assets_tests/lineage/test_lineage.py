"""Which checkpoint came from which RL data: exact, also after things were made again, and from a lone file."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from icd_assets.errors import UserError
from icd_assets.experiment.settings import assigned
from icd_assets.lineage import Records
from icd_assets.lineage.chain import Chains
from icd_assets.lineage.embedded import EmbeddedLineage
from icd_assets.lineage.rows import trained_rows
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import KEY, STEP_NAMES, World, changed, document
from icd_assets_tests.worlds.workplace import KEY as DEMO
from icd_assets_tests.worlds.workplace import ROOT, Workplace

RL = "d0/generated_data/rl_data_RandSampler_m0.json"
V3 = "d0/model_cpk/v3_RandSampler_m0"


def chain(run: Run, *words: str) -> Any:
    ended = run("lineage", "--json", *words)
    assert ended.code == 0, ended.error
    return json.loads(ended.output)


def node(found: Any, name: str) -> Any:
    """The one artifact of that name in a chain."""
    (one,) = [artifact for artifact in found["artifacts"].values() if artifact["name"] == name]
    return one


def test_the_chain_goes_down_to_dataset_models_prompts_and_seeds(world: World, run: Run) -> None:
    world.cell(run_id="run-7")
    found = chain(run, KEY)
    assert node(found, "v2format_checkpoint")["cell"] == KEY
    rl_data = node(found, "rl_data")
    assert rl_data["data_version"] == document(world.root / f"{RL}.manifest.json")["data_version"]
    assert (rl_data["run_id"], rl_data["created_at"]) == ("run-7", "2026-01-02T03:00:00+00:00")
    assert rl_data["config"]["generation"] == {
        "max_new_tokens": 2,
        "num_beams": 1,
        "length_penalty": 0.0,
        "min_new_tokens": 0,
    }
    assert rl_data["config"]["vlm"]["prompt"]["layout"] == "turns"
    assert rl_data["config"]["seed"] == 42
    assert rl_data["files"][0]["path"] == RL
    for outside in ("vlm", "encoder"):
        assert len(node(found, outside)["data_version"]) == 64
    shown = run("lineage", KEY).output
    for word in ("v2format_checkpoint", "run run-7", "seed 42", "vlm.prompt.layout turns", "dataset", "as above"):
        assert word in shown
    assert "since" not in shown


def test_every_way_to_ask_gives_the_same_answer(world: World, run: Run) -> None:
    world.cell(run_id="6a6cb25c-7f26-43b2-bf99-5f0214732691")
    asked = chain(run, "rce_checkpoints", KEY)
    wanted = asked["targets"][0]["artifact"]
    for words in (
        ("rce_checkpoints", "d0", "rand_sampler", "model0"),
        ("d0", "RandSampler", "m0", "rce_checkpoints"),
        (f"results/{V3}/rce_epoch2.pt",),
        (f"results/{V3}/rce_checkpoints.manifest.json",),
    ):
        assert chain(run, *words)["targets"][0]["artifact"] == wanted
    of_run = chain(run, "6a6cb25c")["targets"]
    assert len(of_run) == len(STEP_NAMES)
    assert wanted in [target["artifact"] for target in of_run]


def test_what_was_made_again_since_is_said_and_the_consumed_one_is_shown(world: World, run: Run) -> None:
    experiment = world.cell(run_id="run-1")
    before = document(world.root / f"{RL}.manifest.json")
    world.make(experiment, "rl_data", "run-2", made="30:00", note="other answers")
    after = document(world.root / f"{RL}.manifest.json")
    assert before["data_version"] != after["data_version"]

    rl_data = node(chain(run, "rce_checkpoints", KEY), "rl_data")
    assert (rl_data["state"], rl_data["data_version"]) == ("remade", before["data_version"])
    assert rl_data["run_id"] == "run-1"
    assert rl_data["config"] == before["want"]["config"]  # from the history: the manifest on disk is another
    assert rl_data["now"] == {
        "data_version": after["data_version"],
        "run_id": "run-2",
        "created_at": "2026-01-02T03:30:00+00:00",
    }
    shown = run("lineage", "rce_checkpoints", KEY).output
    assert f"now {after['data_version']} by run run-2, 2026-01-02 03:30:00 UTC" in shown
    assert node(chain(run, "rl_data", KEY), "rl_data")["state"] == "current"


def test_the_same_bytes_made_by_another_run_are_the_same_data(world: World, run: Run) -> None:
    experiment = world.cell(run_id="run-1")
    before = chain(run, "rce_checkpoints", KEY)
    world.make(experiment, "rl_data", "run-2", made="30:00")
    after = chain(run, "rce_checkpoints", KEY)
    assert list(after["artifacts"]) == list(before["artifacts"])  # the consumed making, not the one on disk
    world.make(experiment, "rce_checkpoints", "run-2", made="31:00")
    world.make(experiment, "rl_data", "run-3", made="32:00")
    of_second = chain(run, "rce_checkpoints", KEY)
    (kept,) = [path for path in world.store.history.glob("rl_data/*") if document(path)["run_id"] == "run-2"]
    assert f"rl_data@{kept.stem.replace('-', '#')}" in of_second["artifacts"]

    rl_data = node(after, "rl_data")
    assert (rl_data["state"], rl_data["run_id"], rl_data["same_bytes_by_runs"]) == ("current", "run-1", ["run-2"])
    assert "the same bytes were made again by run run-3" in run("lineage", "rce_checkpoints", KEY).output


def test_a_removed_input_is_said_and_its_manifest_still_known(world: World, run: Run) -> None:
    world.cell()
    (world.root / RL).unlink()
    (world.root / f"{RL}.manifest.json").unlink()
    rl_data = node(chain(run, "rce_checkpoints", KEY), "rl_data")
    assert (rl_data["state"], rl_data["config"]["seed"]) == ("removed", 42)


def test_a_file_copied_away_is_known_by_its_content(world: World, run: Run, tmp_path: Path) -> None:
    experiment = world.cell(run_id="run-1")
    away = tmp_path / "away.bin"
    away.write_bytes((world.root / V3 / "rce_epoch1.pt").read_bytes())
    before = chain(run, str(away))
    # made again, then with other settings: the copy still leads to what it came from
    world.make(experiment, "rl_data", "run-2", made="30:00", note="other answers")
    world.make(experiment, "rce_checkpoints", "run-2", made="31:00")
    found = chain(run, str(away))
    (target,) = found["targets"]
    assert target["file"] == str(away)
    assert target["artifact"] == before["targets"][0]["artifact"]
    trained = node(found, "rce_checkpoints")
    assert (trained["state"], trained["run_id"], trained["now"]["run_id"]) == ("remade", "run-1", "run-2")
    assert node(found, "rl_data")["run_id"] == "run-1"


def test_rl_data_copied_away_and_edited_still_says_its_inputs(world: World, run: Run, tmp_path: Path) -> None:
    experiment = world.cell()
    away = tmp_path / "rl.json"
    text = (world.root / RL).read_text(encoding="utf-8")
    for content in (text.replace('"random"', '"beam"'), json.dumps(json.loads(text), indent=2)):
        away.write_text(content, encoding="utf-8")
        found = chain(run, str(away))
        assert found["artifacts"]["rl_data@None"]["config"] is None
        v2 = node(found, "v2_checkpoint")
        assert v2["data_version"] == experiment.manifest("v2_checkpoint").data_version  # type: ignore[union-attr]
        assert v2["run_id"] == "run-1"
    assert "its fields are in the manifest only" in run("lineage", str(away)).output


def test_verify_reads_every_file_again(world: World, run: Run) -> None:
    world.cell()
    ended = run("lineage", KEY, "--verify")
    assert (ended.code, ended.error) == (0, "")
    assert "all of it is what was recorded" in ended.output
    for hidden in (False, True):
        with changed(world.root / RL, hidden=hidden):
            ended = run("lineage", "v2format_checkpoint", KEY, "--verify")
            assert ended.code == 2
            assert f"{RL} is no longer what rl_data wrote" in ended.output
    for outside in ("weights/m0/model.safetensors", "datasets/d0/train_q.json"):
        with changed(world.folder / outside, hidden=True):
            ended = run("lineage", KEY, "--verify", "--json")
            assert ended.code == 2
            (differs, *_) = json.loads(ended.output)["verified"]["differs"]
            assert differs.startswith("vlm is not what" if "m0" in outside else "dataset is not what")
    assert run("lineage", KEY, "--verify").code == 0


def test_verify_reads_what_lies_there_where_only_a_part_is_the_same(world: World, run: Run) -> None:
    """The embeddings were made with the encoder of a v2 checkpoint that was trained again since."""
    experiment = world.cell()
    new = world.make(experiment, "v2_checkpoint", "run-2", made="30:00", note="another seed")
    assert node(chain(run, "embeddings", KEY), "v2_checkpoint.encoder")["state"] == "current"
    ended = run("lineage", "embeddings", KEY, "--verify")
    assert (ended.code, "all of it is what was recorded" in ended.output) == (0, True), ended.output
    with changed(experiment.paths.v2_checkpoint):
        ended = run("lineage", "embeddings", KEY, "--verify")
        assert ended.code == 2
        assert f"(v2_checkpoint {new.data_version})" in " ".join(ended.output.split())


def test_verify_reads_the_subset_of_an_evaluation(world: World, run: Run) -> None:
    subset = world.folder / "subset.json"
    subset.write_text("[1, 2]", encoding="utf-8")
    path = world.folder / "catalog.yaml"
    catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
    catalog["datasets"]["d0"]["validation"]["subset"] = str(subset)
    path.write_text(yaml.safe_dump(catalog), encoding="utf-8")
    experiment = world.experiment()
    experiment = replace(experiment, settings=assigned(experiment.settings, {"evaluation.subset": True}))
    for asset in STEP_NAMES:
        if asset != "grpo_checkpoints":
            world.make(experiment, asset)
    assert run("lineage", "evaluation", KEY, "--verify").code == 0
    with changed(subset, hidden=True):
        assert "subset is not what evaluation read" in run("lineage", "evaluation", KEY, "--verify").output
    subset.unlink()
    ended = run("lineage", "evaluation", KEY, "--verify")
    assert (ended.code, "not checked: subset" in ended.output) == (0, True)
    manifest = experiment.manifest_path("evaluation")
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"subset": {', '"novelty": {'))
    assert "not checked: novelty" in run("lineage", "evaluation", KEY, "--verify").output


def test_verify_says_what_it_could_not_check(world: World, run: Run, tmp_path: Path) -> None:
    """A colleague's file: nothing of what it names is here."""
    world.cell()
    away = tmp_path / "rl.json"
    away.write_bytes((world.root / RL).read_bytes())
    (world.root).rename(tmp_path / "elsewhere")
    ended = run("lineage", str(away), "--verify")
    assert ended.code == 0
    assert "read again: 0 files" in ended.output
    assert "what could be read is what was recorded; 6 could not be checked" in ended.output
    assert "all of it" not in ended.output


def test_a_changed_file_is_named_by_its_place(world: World, run: Run) -> None:
    world.cell()
    with changed(world.root / V3 / "rce_epoch1.pt"):
        ended = run("lineage", f"results/{V3}/rce_epoch1.pt")
        assert "is no longer what rce_checkpoints wrote" in ended.output
        assert run("lineage", f"results/{V3}/rce_epoch1.pt", "--verify").code == 2


def test_rows_name_what_a_checkpoint_was_trained_on(world: World, run: Run) -> None:
    experiment = world.cell()
    rows = chain(run, KEY, "--rows")["rows"]
    assert rows == [{"row": 3, "question_id": 103}, {"row": 5, "question_id": 105}]
    world.make(experiment, "rl_data", note="other answers")  # the ids are in a file that is not there any more
    rows = chain(run, f"results/{V3}/rce_epoch1.pt", "--rows")["rows"]
    assert rows == [{"row": 3, "question_id": None}, {"row": 5, "question_id": None}]
    ended = run("lineage", "rl_data", KEY, "--rows")
    assert (ended.code, "its rows are not known" in ended.error) == (2, True)


def test_rows_are_never_those_of_another_training(world: World) -> None:
    """Of a GRPO file that was taken here without its manifest, the RCE behind it is known, and is not it."""
    manifest = world.cell().manifest("grpo_checkpoints")
    assert manifest is not None
    inside = EmbeddedLineage.model_validate(manifest.spec.lineage())
    alone = Chains(Records(world.store)).of_embedded(inside)
    assert alone.inputs["rce_checkpoints"].manifest is not None
    with pytest.raises(UserError, match="its rows are not known"):
        trained_rows(alone, world.store)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("d0|RandSampler/m9",), "unknown model 'm9'"),
        (("d0|RandSampler",), "not a partition key"),
        (("nothing",), "no file, no run id and no cell"),
        (("d0", "rand_sampler"), "name one cell"),
        (("0123abcd",), "no artifact under .* was made by run 0123abcd"),
        ((KEY,), "nothing is made of"),
        (("rl_data", KEY), "materialize rl_data first"),
        (("rl_data", "embeddings", KEY), "are two assets"),
        (("catalog.yaml",), "not a file that says what it was made from"),
    ],
)
def test_bad_words_are_one_sentence(run: Run, words: tuple[str, ...], sentence: str) -> None:
    ended = run("lineage", *words)
    assert ended.code == 2
    assert re.search(sentence, ended.error), ended.error


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{}", "does not say what it was made from"),
        (b'{"3": {}, "_meta": []}', "does not say"),
        (b'{\n"_meta": {"lineage": {"asset": "\\u001b[2Jrl", "inputs": {}}}\n}\n', "not of our form"),
        (b'{\n"_meta": {"lineage": {"asset": "rl_data"', "not complete JSON"),
        (
            b'{\n"_meta": {"lineage": {"asset": "rl_data", "code_version": "1", "config_digest": "a", '
            b'"inputs": {"../x": "1"}}}\n}\n',
            "cannot be one",
        ),
        (b"\xff\xd8", "not UTF-8"),
    ],
)
def test_a_foreign_file_is_one_sentence(run: Run, tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "given.json"
    path.write_bytes(content)
    ended = run("lineage", str(path))
    assert (ended.code, sentence in ended.error) == (2, True), ended.error


def test_a_file_of_a_size_that_none_has_is_not_read(
    world: World, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten gigabytes of anyone's took half a minute to be known as nobody's."""
    world.cell()
    path = tmp_path / "given.pt"
    with path.open("wb") as file:
        file.truncate(10 << 30)
    hashed: list[Path] = []
    monkeypatch.setattr("icd_assets.store.digests.sha256_file", lambda path: hashed.append(path) or "0" * 64)
    ended = run("lineage", str(path))
    assert (ended.code, str(path) in ended.error) == (2, True), ended.error
    assert path not in hashed


def test_a_broken_or_hostile_manifest_is_passed_over_and_named(world: World, run: Run, tmp_path: Path) -> None:
    world.cell()
    secret = tmp_path / "secret"
    secret.write_text("x", encoding="utf-8")
    path = world.root / f"{RL}.manifest.json"
    good = document(path)
    hostile = {**good, "files": [{**good["files"][0], "path": "../../secret"}]}
    for content in (json.dumps(hostile), path.read_text(encoding="utf-8")[:200]):
        path.write_text(content, encoding="utf-8")
        ended = run("lineage", "rce_checkpoints", KEY, "--verify")
        assert "passed over" in ended.error
        assert "secret" not in ended.output
        assert "rl_data" in ended.output  # from the history


def test_names_that_steer_a_terminal_are_printed_harmlessly(world: World, run: Run) -> None:
    world.cell(run_id="run\x1b[2J")
    assert "\x1b" not in run("lineage", KEY).output


def test_a_cycle_of_manifests_ends(world: World, run: Run) -> None:
    world.cell()
    path = world.root / f"{RL}.manifest.json"
    for place in (path, *world.store.history.glob("rl_data/*")):
        content = document(place)
        content["want"]["inputs"]["rl_data"] = {"data_version": content["data_version"], "run_id": "run-1"}
        place.write_text(json.dumps(content), encoding="utf-8")
    assert "name each other" in run("lineage", "rce_checkpoints", KEY).error


def test_a_manifests_lineage_needs_no_torch(world: World) -> None:
    world.cell()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        program("heavy_command", "lineage", KEY), env=environment, timeout=60, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    heavy = {"torch", "numpy", "dagster", "transformers"}
    assert not heavy & set(json.loads(ended.stderr.splitlines()[-1]))


@pytest.mark.slow
def test_a_real_checkpoint_taken_elsewhere_names_its_rl_data(
    trained: tuple[Workplace, str], tmp_path: Path
) -> None:
    """Without any results root at hand, as far as the file says; with it, down to the dataset."""
    place, _ = trained
    folder = place.results / "demo/model_cpk/v3_RandSampler_tiny_vl"
    rl_data = document(place.results / "demo/generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json")
    for name in ("rce_epoch5.pt", "grpo_epoch3_v2format.ckpt"):
        away = tmp_path / name
        away.write_bytes((folder / name).read_bytes())
        alone = place.run("lineage", str(away), "--json", RESULT_DIR=str(tmp_path / "none"))
        assert alone.returncode == 0, alone.stderr
        found = json.loads(alone.stdout)
        if name.endswith(".pt"):
            assert node(found, "rl_data")["data_version"] == rl_data["data_version"]
        with_results = json.loads(place.run("lineage", str(away), "--json").stdout)
        assert node(with_results, "rl_data")["run_id"] == rl_data["run_id"]
        assert {"vlm", "encoder"} <= {one["name"] for one in with_results["artifacts"].values()}
    shown = place.run("lineage", "rce_checkpoints", DEMO, "--rows", "--verify")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"trained on \d+ RL rows: row \(question_id\)\n\d+ \(\d+\)", shown.stdout)
