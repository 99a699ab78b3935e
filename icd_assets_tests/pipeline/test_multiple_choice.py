"""A multiple-choice dataset through the whole pipeline, as real processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from icd_assets.tasks import TASKS
from icd_assets_tests.worlds.choices import new_choice_workplace
from icd_assets_tests.worlds.workplace import Workplace

pytestmark = pytest.mark.slow

CELL = ["multiple_choice", "demo_choices", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"]
RECIPE = {"RCE_EPOCHS": "2", "GRPO_EPOCHS": "1"}


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, str]:
    place = new_choice_workplace(tmp_path_factory.mktemp("choices"))
    ended = place.run("train", *CELL, **RECIPE)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return place, ended.stdout


def read(place: Workplace, relative: str) -> Any:
    return json.loads((place.results / "demo_choices" / relative).read_text(encoding="utf-8"))


def test_rl_data_carry_vqas_labels_and_the_options(chosen: tuple[Workplace, str]) -> None:
    place, _ = chosen
    content = read(place, "generated_data/rl_data_RandSampler_tiny_vl.json")
    queries = [query for key, query in content.items() if key != "_meta"]
    candidates = [candidate for query in queries for candidate in query["pointer_candidates"]]
    assert {candidate["vqa_acc_score"] for candidate in candidates} == {0.0, 1.0}
    assert all(candidate["vqa_correct"] == candidate["vqa_acc_score"] for candidate in candidates)
    assert all("cider" not in candidate for candidate in candidates)
    asked = queries[0]["query"]
    _, *options = asked["question"].split("\n")
    assert [option[:3] for option in options] == ["A. ", "B. ", "C. ", "D. "]
    text, letter = asked["gt_answers_raw"]
    assert f"{letter}. {text}" in options
    made = read(place, "generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json")
    assert made["want"]["config"]["generation"]["max_new_tokens"] == 4  # the overlay's, not the task's 12
    assert "cider" not in made["want"]["config"]


def test_the_table_is_of_accuracy(chosen: tuple[Workplace, str]) -> None:
    place, printed = chosen
    assert "validation split, 30 questions, 2 shots" in printed and "accuracy %" in printed
    comparison = read(place, "icl_inference/v3_RandSampler_tiny_vl/comparison.json")
    values = {(row["strategy"], row["shots"]): row["score"]["value"] for row in comparison["strategies"]}
    assert {f"{kind} similarity" for kind in TASKS["multiple_choice"].similarities} <= {name for name, _ in values}
    assert values["best in pool (oracle)", 2] > values["random", 2] + 0.3  # demonstrations matter


def test_gold_options_can_be_scored(chosen: tuple[Workplace, str], tmp_path: Path) -> None:
    place = Workplace(tmp_path / "copy")
    shutil.copytree(chosen[0].folder, place.folder)
    ended = place.run("train", *CELL, "--to", "rce_checkpoints", REWARD_MODE="hard01_plus_gtprob", **RECIPE)
    assert ended.returncode == 0, ended.stderr
    content = read(place, "generated_data/rl_data_RandSampler_tiny_vl.json")
    found = [c["vqa_gt_prob"] for key, q in content.items() if key != "_meta" for c in q["pointer_candidates"]]
    assert all(0 <= probability <= 1 for probability in found)
    assert max(found) > 1 / 3  # not a third of it, as one of three annotators would count


def test_the_second_time_nothing_is_done(chosen: tuple[Workplace, str]) -> None:
    place, _ = chosen
    ended = place.run("train", *CELL, **RECIPE)
    assert ended.returncode == 0, ended.stderr
    assert "nothing had to be done" in ended.stdout


def test_a_mistake_is_one_sentence(chosen: tuple[Workplace, str], tmp_path: Path) -> None:
    place = Workplace(tmp_path / "copy")
    shutil.copytree(chosen[0].folder, place.folder, ignore=shutil.ignore_patterns("results", "history"))

    def refused(*cell: str, **variables: str) -> str:
        ended = place.run("train", *cell, **variables)
        assert ended.returncode == 2, ended.stdout + ended.stderr
        (line,) = ended.stderr.strip().splitlines()
        return line

    assert "task 'vqa' is not that of demo_choices; write: icd-assets train multiple_choice" in refused(
        "vqa", *CELL[1:]
    )
    assert "REWARD_MODE cider is not a reward of the task multiple_choice" in refused(*CELL, REWARD_MODE="cider")
    file = place.folder / "choices_train.json"
    file.write_bytes(file.read_bytes()[:2000])
    assert "choices_train.json is not complete JSON" in refused(*CELL)
