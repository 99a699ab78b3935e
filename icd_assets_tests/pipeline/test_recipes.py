"""The recipes of labels as a user runs them: made once, kept, looked at, exported, begun again in rounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icd_assets.scoring.rl_file import read_rl_data
from icd_assets.selector.selector_file import EncoderName, read_selector
from icd_assets_tests.defs.test_metadata import unknown_numbers
from icd_assets_tests.worlds.workplace import CELL, KEY, Workplace, new_workplace, shrink

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, str]:
    """The recipe rl, made by one command, and what it printed."""
    place = new_workplace(tmp_path_factory.mktemp("labels"))
    ended = place.train(RECIPE="rl")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return place, ended.stdout


def manifest(place: Workplace, asset: str) -> dict[str, object]:
    (path,) = place.results.rglob(f"{asset}*.manifest.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_a_run_says_what_it_costs_and_what_it_came_to(whole: tuple[Workplace, str]) -> None:
    place, printed = whole
    assert "recipe  rl; coverage selector: singles → sequences → RL" in printed
    table = printed[printed.index("VLM prompts") :]
    for recipe, prompts in (("singles", "1,560"), ("sequences", "3,072"), ("rl ←", "3,552"), ("beams", "2,280")):
        assert f"{recipe} " in table and prompts in table, table[:600]
    for strategy in ("singles", "sequences", "RL"):
        assert f"coverage ({strategy})" in printed
    assert "recommended  rl_selector, the last of the recipe rl" in printed
    assert "--architecture v2 exports" in printed
    evaluated = manifest(place, "evaluation")["facts"]
    assert isinstance(evaluated, dict) and evaluated["recommended"] == "coverage (RL)"


def test_every_number_that_the_ui_shows_says_what_it_counts(whole: tuple[Workplace, str]) -> None:
    assert unknown_numbers(whole[0].results) == set()


def test_the_price_of_a_row_is_what_its_labels_need(whole: tuple[Workplace, str]) -> None:
    (path,) = whole[0].results.rglob("comparison.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["strategies"]
    prices = {row["strategy"]: row["prompts"] for row in rows if row["prompts"] is not None}
    singles, steps = 24 * 65, 24 * 63  # the prefix itself was asked with the singles
    assert prices["coverage (singles)"] == singles
    assert prices["coverage (sequences)"] == singles + steps
    assert prices["coverage (sequences)"] < prices["coverage (RL)"] <= singles + steps + 32 * 15


def test_what_is_whole_is_kept_however_it_is_asked_for(whole: tuple[Workplace, str]) -> None:
    place, _ = whole
    for recipe in ("rl", "auto"):  # what is on disk says which
        again = place.train(RECIPE=recipe)
        assert "nothing had to be done: every artifact is up to date" in again.stdout, again.stdout
    status = json.loads(place.run("status", "--json", RECIPE="auto").stdout)["cells"][KEY]
    states = {asset: one["state"] for asset, one in status.items()}
    made = ("single_labels", "sequence_selector", "rl_selector", "evaluation")
    assert {states[asset] for asset in made} == {"fresh"}
    assert states["beam_data"] == states["v2_checkpoint"] == "left out"


def test_it_is_looked_at_as_all_else_is(whole: tuple[Workplace, str]) -> None:
    place, _ = whole
    for words in (
        ("lineage", "rl_selector", KEY),
        ("lineage", "rl_selector", KEY, "--rows"),
        ("verify",),
        ("why", "step_labels", KEY),
        ("doctor", *CELL[1:2], *CELL[4:]),
    ):
        ended = place.run(*words, RECIPE="auto")
        assert ended.returncode == 0, (words, ended.stdout + ended.stderr)
    board = json.loads((place.results / "leaderboard.json").read_text(encoding="utf-8"))
    assert board[0]["recommended"].endswith(("rl_selector/config.json", "rl_selector/model.safetensors"))
    assert board[0]["score_of"] == "this checkpoint"


def test_validation_rows_of_rl_are_seen_by_nobody(whole: tuple[Workplace, str]) -> None:
    place, _ = whole
    (path,) = place.results.rglob("*rl_queries:64.json")
    roles = json.loads(path.read_text(encoding="utf-8"))
    (pools,) = place.results.rglob("demo-RandSampler-anchor*:64.json")
    anchors = json.loads(pools.read_text(encoding="utf-8"))
    assert len(roles["train"]) == 24 and len(roles["validation"]) == 8
    assert not roles["validation"].keys() & (anchors.keys() | roles["train"].keys())
    (data,) = place.results.rglob("own_rl_data_*_tiny_vl.json")
    found = read_rl_data(data)
    assert found.held_out == {int(row) for row in roles["validation"]}
    assert {query.row for query in found.queries} == {int(row) for own in roles.values() for row in own}


def test_other_settings_of_rl_keep_the_labels(whole: tuple[Workplace, str]) -> None:
    plan = whole[0].train("--dry-run", "--json", "--set", "rl_selector.updates=400", RECIPE="rl")
    assert json.loads(plan.stdout)["to_make"] == ["rl_selector", "evaluation"]


def test_headroom_is_over_the_last_selector_trained(whole: tuple[Workplace, str]) -> None:
    shown = whole[0].run("headroom", KEY, "--budget", "270", RECIPE="rl")
    assert shown.returncode == 0, shown.stderr
    assert "the policy is coverage (RL): " in shown.stdout


def test_select_takes_a_question_of_ones_own(whole: tuple[Workplace, str]) -> None:
    picture = str(next(whole[0].folder.rglob("COCO_val_*.jpg")))
    found = json.loads(
        whole[0].run("select", picture, "what food does it eat?", KEY, "--json", RECIPE="rl").stdout
    )
    assert found["selector"] == "coverage (RL)" and len(found["demonstrations"]) == 2
    images = [part["image_url"]["url"] for turn in found["messages"] for part in turn["content"] if len(part) == 2
              and part["type"] == "image_url"]  # fmt: skip
    assert len(images) == 3
    shown = whole[0].run("select", picture, "what food does it eat?", KEY, RECIPE="rl", COLUMNS="200")
    assert all(f"\n{one['row']} " in shown.stdout for one in found["demonstrations"])
    for bad, said in (("nowhere.jpg", "nowhere.jpg"), (str(whole[0].folder / "catalog.yaml"), "catalog.yaml")):
        ended = whole[0].run("select", bad, "what?", KEY, RECIPE="rl")
        assert ended.returncode == 2 and said in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_v2_exports_and_one_choice_reaches_every_stage(tmp_path: Path) -> None:
    place = new_workplace(tmp_path / "work")
    shrink(place)
    ended = place.train("--architecture", "v2", "--to", "v2format_checkpoint", RECIPE="sequences")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    for asset in ("singles_selector", "sequence_selector"):
        (folder,) = place.results.rglob(f"{asset}/config.json")
        found = read_selector(folder.parent)
        assert found.policy.config.architecture == "v2"
        assert found.encoder == EncoderName(name="tiny_clip")  # and not where it lies on this machine
    (exported,) = place.results.rglob("*_v2format.ckpt")
    assert exported.name == "sequence_selector_v2format.ckpt"


def test_fifty_labelled_queries_and_two_rounds_are_a_preset(tmp_path: Path) -> None:
    place = new_workplace(tmp_path / "work")
    shrink(place)
    ended = place.train("--preset", "weak_start", "--to", "rl_data", RECIPE="")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    facts = manifest(place, "own_rl_data")["facts"]
    assert isinstance(facts, dict) and facts["candidates_round_2"] > 0


def test_settings_of_lever_plus_mean_its_chain_in_one_line(tmp_path: Path) -> None:
    place = new_workplace(tmp_path / "work")
    ended = place.train("--dry-run", "--grpo-epochs", "3", RECIPE="")
    assert ended.stderr.count("recipe beams, for grpo_checkpoints.grpo_epochs is set") == 1
    planned = ended.stdout[: ended.stdout.index("VLM prompts")]
    assert "grpo_checkpoints" in planned and "single_labels" not in planned
