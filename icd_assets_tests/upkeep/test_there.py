"""What is on disk is seen whatever the settings of the moment: other rewards, names, numbers; and trouble in one
cell stays in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import KEY, STEP_NAMES, World, document

FRESH = dict.fromkeys(STEP_NAMES, "fresh")
CAPTIONS = "c0|RandSampler/m0"
WORDS = ("d0", "rand_sampler", "m0")


def status(run: Run, *words: str) -> Any:
    ended = run("status", "--json", *words)
    assert ended.code == 0, ended.error
    return json.loads(ended.output)


def states(assets: dict[str, Any]) -> dict[str, str]:
    """Of the steps of Lever-Plus' chain."""
    return {name: one["state"] for name, one in assets.items() if name in STEP_NAMES}


def others(found: Any) -> dict[str, dict[str, str]]:
    return {one["flags"]: states(one["assets"]) for one in found["others"]}


@pytest.fixture
def captions(world: World) -> World:
    """A caption dataset beside the questions, with a whole cell."""
    path = world.folder / "catalog.yaml"
    catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
    splits = {}
    for split in ("train", "validation"):
        file = world.folder / f"{split}_captions.json"
        file.write_text("{}", encoding="utf-8")
        splits[split] = {"captions": str(file), "images": "x/{image_id}.jpg"}
    shared = {name: catalog["datasets"]["d0"][name] for name in ("sample_num", "encoder", "sampler_encoder")}
    catalog["datasets"]["c0"] = {"task": "caption", "alias_prefixes": ["c0"], **shared, **splits}
    path.write_text(yaml.safe_dump(catalog), encoding="utf-8")
    world.cell(CAPTIONS)
    return world


def test_every_reward_and_name_on_disk_has_its_row(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.cell()
    assert status(run)["others"] == []
    world.cell(REWARD_MODE="legacy", run_id="run-2")
    world.cell(HARD_WEIGHT="2", run_id="run-3")
    world.cell(RUN_NAME="kl012", run_id="run-4")
    found = status(run)
    assert states(found["cells"][KEY]) == FRESH
    assert others(found) == {"--reward-mode legacy": FRESH, "--hard-weight 2": FRESH, "--name kl012": FRESH}
    legacy = next(one for one in found["others"] if one["flags"] == "--reward-mode legacy")
    assert legacy["assets"]["rce_checkpoints"]["run_id"] == "run-2"
    assert legacy["assets"]["rl_data"]["run_id"] == "run-1"  # shared
    monkeypatch.setenv("REWARD_MODE", "legacy")
    found = status(run)
    assert found["cells"][KEY]["rce_checkpoints"]["run_id"] == "run-2"
    assert set(others(found)) == {
        "--reward-mode hard_plus_soft",
        "--reward-mode hard_plus_soft --hard-weight 2",
        "--reward-mode hard_plus_soft --name kl012",
    }


def test_the_flags_of_a_row_mean_it(world: World, run: Run) -> None:
    world.cell()
    world.cell(REWARD_MODE="legacy", HARD_WEIGHT="3", RUN_NAME="second", run_id="run-2")
    (one,) = status(run)["others"]
    again = status(run, *one["flags"].split())
    assert again["cells"][KEY] == one["assets"]


def test_two_texts_of_a_weight_are_two_rows(world: World, run: Run) -> None:
    world.cell()
    folder = world.cell(HARD_WEIGHT="2", run_id="run-2").paths.v3_folder
    for text in ("2", "2.0", "2.00"):
        shutil.copytree(folder, folder.with_name(f"v3_RandSampler_m0_h{text}_s1"))
    found = others(status(run))
    wanted = {"--hard-weight 2", *(f"--hard-weight {text} --soft-weight 1" for text in ("2", "2.0", "2.00"))}
    assert set(found) == wanted


def test_each_experiment_is_judged_with_its_own_number_of_grpo_epochs(world: World, run: Run) -> None:
    world.cell(GRPO_EPOCHS="3")
    world.cell(GRPO_EPOCHS="5", RUN_NAME="long", run_id="run-2")
    assert others(status(run)) == {"--name long": FRESH}
    assert others(status(run, "--name", "long")) == {"without --name": FRESH}
    assert others(status(run, "--grpo-epochs", "3"))["--name long"]["grpo_checkpoints"] == "stale"


def test_without_a_name(world: World, run: Run) -> None:
    world.cell()
    world.cell(RUN_NAME="second", REWARD_MODE="legacy", run_id="run-2")
    flags = ("--name", "third")
    assert "\nwithout --name: fresh" in run("why", "rce_checkpoints", *WORDS, *flags).output
    assert (
        "it is without --name, and with --reward-mode legacy --name second"
        in run("evaluation", *WORDS, *flags).error
    )
    found = others(status(run, "--name", "second", "--reward-mode", "legacy"))
    assert set(found) == {"--reward-mode hard_plus_soft without --name"}


@pytest.mark.parametrize("equal", ["bytes", "second"])
def test_lineage_shows_the_epochs_that_were_read_and_not_their_equals(world: World, run: Run, equal: str) -> None:
    """Of two folders that no run tells apart, as of adopted ones."""
    world.cell()
    for name, made in (("a", "01"), ("b", "02")):
        experiment = world.experiment(RUN_NAME=name, GRPO_EPOCHS="3")
        for asset in ("rce_checkpoints", "grpo_checkpoints"):
            if equal == "bytes":
                world.make(experiment, asset, made=f"{made}:00")
            else:
                world.make(experiment, asset, note=name)
    for name in ("a", "b"):
        shown = json.loads(run("lineage", "grpo_checkpoints", *WORDS, "--name", name, "--json").output)
        artifacts = shown["artifacts"]
        grpo = artifacts[shown["targets"][0]["artifact"]]
        for one in (grpo, artifacts[grpo["inputs"]["rce_checkpoints"]]):
            assert f"v3_RandSampler_m0_{name}/" in one["manifest"]


def test_a_row_is_judged_with_the_settings_of_its_place_and_else_with_those_given(world: World, run: Run) -> None:
    world.cell(REWARD_MODE="legacy", run_id="run-2")
    found = status(run, "--rce-lr", "0.5")
    assert states(found["cells"][KEY])["rce_checkpoints"] == "missing"
    assert others(found)["--reward-mode legacy"]["rce_checkpoints"] == "stale"
    assert others(status(run))["--reward-mode legacy"] == FRESH


def test_what_a_folders_name_does_not_say_is_as_it_was_made(world: World, run: Run) -> None:
    """The weights of legacy are not in its name."""
    world.cell()
    path = world.cell(REWARD_MODE="legacy").manifest_path("rce_checkpoints")
    content = document(path)
    content["want"]["config"]["reward"]["alpha"] = 1.0
    path.write_text(json.dumps(content), encoding="utf-8")
    (flags,) = others(status(run))
    assert flags == "--reward-mode legacy --set reward.alpha=1"
    assert others(status(run))[flags]["rce_checkpoints"] == "fresh"


def test_other_numbers_are_seen(world: World, run: Run) -> None:
    experiment = world.experiment(GRPO_EPOCHS="3")
    shared = experiment.settings.shared.model_copy(update={"shots": 3})
    other = type(experiment)(
        experiment.cell,
        experiment.settings.model_copy(update={"shared": shared}),
        experiment.store,
        experiment.catalog,
    )
    for asset in STEP_NAMES[:3]:
        world.make(other, asset)
    found = status(run)
    assert others(found)["--set shared.shots=3"]["beam_data"] == "fresh"
    assert states(found["cells"][KEY])["beam_data"] == "missing"
    for asset in STEP_NAMES[3:]:
        world.make(other, asset)
    assert others(status(run)) == {"--set shared.shots=3": FRESH}
    assert status(run, "--set", "shared.shots=3")["others"] == []


@pytest.mark.parametrize("command", [("status",), ("why", "evaluation", CAPTIONS), ("lineage", CAPTIONS)])
def test_a_reward_of_another_task_stops_no_look(
    captions: World, run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    captions.cell()
    monkeypatch.setenv("REWARD_MODE", "legacy")
    ended = run(*command)
    assert ended.code == 0, ended.error
    assert "v2format" in ended.output or "evaluation of c0|RandSampler/m0: fresh" in ended.output


def test_its_cell_is_judged_under_its_own_reward_and_says_so(
    captions: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions.cell()
    monkeypatch.setenv("REWARD_MODE", "legacy")
    found = status(run)
    assert states(found["cells"][CAPTIONS]) == FRESH
    assert others(found) == {"--reward-mode hard_plus_soft": FRESH}
    assert found["problems"][CAPTIONS].startswith("REWARD_MODE legacy is not a reward of the task caption")
    assert "REWARD_MODE legacy is not a reward of the task caption" in run("why", "rl_data", CAPTIONS).output
    monkeypatch.setenv("REWARD_MODE", "cider")
    assert states(status(run)["cells"][KEY]) == FRESH


BREAKS = {
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:99]),
    "another JSON": lambda path: path.write_text('{"a": 1}', encoding="utf-8"),
    "binary": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
    "without facts": lambda path: _edited(path, lambda content: content.update(facts={})),
    "a config of another version": lambda path: _edited(path, _foreign_config),
    "another cell's key": lambda path: _edited(path, lambda content: content.update(cell="what|ever")),
}


def _edited(path: Path, edit: Any) -> None:
    content = document(path)
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _foreign_config(content: Any) -> None:
    content["want"]["config"] |= {"reward": {"mode": "hybrid", "x": 1}, "shots": "many", "seed": -1}


@pytest.mark.parametrize("asset", ["beam_data", "v2_checkpoint", "rce_checkpoints", "v2format_checkpoint"])
@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_manifest_hides_nothing_else(world: World, run: Run, how: str, asset: str) -> None:
    good = world.cell("d0|MixSampler/m0")
    world.cell()
    world.cell(REWARD_MODE="legacy")
    experiment = world.experiment(REWARD_MODE="legacy")
    BREAKS[how](experiment.manifest_path(asset))
    found = status(run)
    assert states(found["cells"][good.cell.key]) == FRESH
    assert KEY in found["cells"]
    assert "--reward-mode legacy" in " ".join(others(found))
    for command in (("why", "evaluation", *WORDS), ("verify", good.cell.key), ("lineage", good.cell.key)):
        assert run(*command).code == 0
    assert run("lineage", *WORDS).code == 0
    assert run("prune").code == 0


@pytest.mark.parametrize("place", ["d0/model_cpk", "d0/icl_inference", "d0/generated_data", "d0/cache"])
def test_a_file_where_a_folder_should_be_hides_nothing_else(world: World, run: Run, place: str) -> None:
    world.cell()
    (world.root / place).rename(world.root / "away")
    (world.root / place).write_text("a file", encoding="utf-8")
    assert KEY in status(run)["cells"]
    assert run("why", "evaluation", KEY).code == 0


def test_bad_settings_of_one_dataset_hide_no_other(world: World, run: Run) -> None:
    catalog = world.folder / "catalog.yaml"
    content = yaml.safe_load(catalog.read_text(encoding="utf-8"))
    content["datasets"]["d1"] = content["datasets"]["d0"] | {"alias_prefixes": ["d1"]}
    catalog.write_text(yaml.safe_dump(content), encoding="utf-8")
    world.cell()
    world.cell("d1|RandSampler/m0")
    content["datasets"]["d1"]["settings"] = {"rce_checkpoints": {"rce_lr": 1}, "v2_checkpoint": {"epochs": "many"}}
    catalog.write_text(yaml.safe_dump(content), encoding="utf-8")
    found = status(run)["cells"]
    assert states(found[KEY]) == FRESH
    assert "cannot be set per dataset" in found["d1|RandSampler/m0"]["rce_checkpoints"]["reason"]


def test_why_names_the_other_experiments(world: World, run: Run) -> None:
    world.cell(REWARD_MODE="legacy")
    assert "with --reward-mode legacy: fresh" in run("why", "rce_checkpoints", *WORDS).output
    found = json.loads(run("why", "rce_checkpoints", *WORDS, "--json").output)
    assert (found["schema"], found["state"]) == (1, "missing")
    assert found["others"] == [{"flags": "--reward-mode legacy", "state": "fresh"}]


def test_lineage_finds_a_checkpoint_of_another_reward(world: World, run: Run) -> None:
    world.cell(REWARD_MODE="legacy", run_id="run-2")
    shown = run("lineage", *WORDS).output
    assert shown.startswith("with --reward-mode legacy\nv2format_checkpoint")
    world.cell(run_id="run-1")
    shown = run("lineage", *WORDS).output
    assert shown.startswith("v2format_checkpoint")
    assert "also there: v2format_checkpoint" in shown and "with --reward-mode legacy" in shown
    targets = json.loads(run("lineage", *WORDS, "--json").output)["targets"]
    assert [one["flags"] for one in targets] == ["", "--reward-mode legacy"]
    (one,) = json.loads(run("lineage", "rl_data", *WORDS, "--json").output)["targets"]  # they share it
    assert one["flags"] == ""


def test_diff_takes_cells_in_any_form(world: World, run: Run) -> None:
    world.cell()
    world.cell("d0|MixSampler/m0")
    keys = (KEY, "d0|MixSampler/m0")
    by_key = run("diff", *keys, "--json", "--asset", "rl_data")
    by_words = run("diff", *WORDS, "d0", "mix_sampler", "m0", "--json", "--asset", "rl_data")
    mixed = run("diff", KEY, "vqa", "d0", "0", "query_img_text_icd_img_text", "mix_sampler", "m0", "--json")
    assert by_key.output == by_words.output != ""
    assert json.loads(by_key.output)["schema"] == 2
    assert mixed.code == 0
    for words in ((KEY,), (*WORDS, "d0"), (KEY, KEY, KEY), ("nothing", "d0")):
        assert run("diff", *words).code == 2


def test_verify_names_the_folders_and_reads_those_that_flags_mean(world: World, run: Run) -> None:
    world.cell()
    world.cell(REWARD_MODE="legacy")
    found = json.loads(run("verify", *WORDS, "--json").output)
    folder = "d0/model_cpk/v3_RandSampler_m0"
    assert found["folders"][folder] == found["folders"][f"{folder}_legacy"] == 9
    found = json.loads(run("verify", *WORDS, "--json", "--reward-mode", "legacy").output)
    assert folder not in found["folders"] and found["folders"][f"{folder}_legacy"] == 9
    assert "name a CELL" in run("verify", "--reward-mode", "legacy").error


def test_evaluation_says_under_which_settings_a_cell_is_evaluated(world: World, run: Run) -> None:
    assert "is not evaluated yet; run icd-assets train" in run("evaluation", *WORDS).error
    world.cell(REWARD_MODE="legacy")
    world.cell(HARD_WEIGHT="2", RUN_NAME="x")
    assert run("evaluation", *WORDS).error == (
        f"{KEY} is not evaluated under these settings; it is with --hard-weight 2 --name x, and with "
        "--reward-mode legacy."
    )


def test_prune_as_json(world: World, run: Run) -> None:
    world.cell()
    found = json.loads(run("prune", "--keep", "last", "--json").output)
    assert (found["schema"], found["removed"], found["freed"]) == (1, False, 0)
    assert {"path", "size", "why"} == set(found["removals"][0])
    done = json.loads(run("prune", "--keep", "last", "--json", "--yes").output)
    assert done["removed"] and done["freed"] == sum(one["size"] for one in found["removals"])
    assert json.loads(run("prune", "--keep", "last", "--json").output)["removals"] == []
