"""A caption dataset through the whole pipeline, as real processes."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets.tasks.caption.files import CaptionFiles
from icd_assets_tests.worlds.captions import new_caption_workplace
from icd_assets_tests.worlds.workplace import Workplace

pytestmark = pytest.mark.slow

CELL = ["caption", "demo_captions", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"]
RECIPE = {"RCE_EPOCHS": "2", "GRPO_EPOCHS": "1"}
V3 = "v3_RandSampler_tiny_vl_cider"


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, str]:
    place = new_caption_workplace(tmp_path_factory.mktemp("captions"))
    ended = place.run("train", *CELL, **RECIPE)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return place, ended.stdout


def read(place: Workplace, relative: str) -> Any:
    return json.loads((place.results / "demo_captions" / relative).read_text(encoding="utf-8"))


def test_files_are_named_by_the_task_and_the_reward(captioned: tuple[Workplace, str]) -> None:
    place, _ = captioned
    folder = place.results / "demo_captions"
    assert [path.name.split("-")[0] for path in (folder / "generated_data").glob("*demo_captions*.json")] == [
        "caption",
        "caption",
    ]
    assert (folder / "model_cpk" / V3 / "grpo_epoch1_v2format.ckpt").is_file()


def test_rl_data_carry_cider_and_how_it_was_weighed(captioned: tuple[Workplace, str]) -> None:
    place, _ = captioned
    content = read(place, "generated_data/rl_data_RandSampler_tiny_vl.json")
    scores = [c["cider"] for key, q in content.items() if key != "_meta" for c in q["pointer_candidates"]]
    assert len(set(scores)) > 2
    assert all(math.isfinite(score) and 0 <= score <= 10 for score in scores)
    made = read(place, "generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json")
    assert made["want"]["config"]["cider"] == {"document_frequencies": "train split"}
    assert made["want"]["config"]["generation"]["max_new_tokens"] == 6  # the task's, not the model's 2
    assert made["want"]["config"]["vlm"]["prompt"]["question"].startswith("tell me")
    assert made["facts"]["cider_beam"] > 0


def test_the_table_is_of_cider_and_no_strategy_reads_the_gold_caption(captioned: tuple[Workplace, str]) -> None:
    place, printed = captioned
    assert "validation split, 30 images, 2 shots" in printed
    assert "CIDEr" in printed and "accuracy" not in printed
    comparison = read(place, f"icl_inference/{V3}/comparison.json")
    names = {row["strategy"] for row in comparison["strategies"]}
    assert {"zero-shot", "random", "image similarity", "v2 (SFT)", "RCE", "GRPO"} <= names
    assert not any("text similarity" in name for name in names)
    values = {(row["strategy"], row["shots"]): row["score"]["value"] for row in comparison["strategies"]}
    assert all(math.isfinite(value) for value in values.values())
    assert values["best in pool (oracle)", 2] > values["random", 2] + 0.5  # demonstrations matter
    (row,) = json.loads((place.results / "leaderboard.json").read_text(encoding="utf-8"))
    assert (row["metric"], row["score"]) == ("CIDEr", round(values["GRPO", 2], 4))


def test_the_second_time_nothing_is_done(captioned: tuple[Workplace, str]) -> None:
    place, _ = captioned
    ended = place.run("train", *CELL, **RECIPE)
    assert ended.returncode == 0, ended.stderr
    assert "nothing had to be done" in ended.stdout


def test_a_mistake_is_one_sentence(captioned: tuple[Workplace, str], tmp_path: Path) -> None:
    place = Workplace(tmp_path / "copy")
    shutil.copytree(captioned[0].folder, place.folder, ignore=shutil.ignore_patterns("results", "history"))

    def refused(*cell: str, **variables: str) -> str:
        ended = place.run("train", *cell, **variables)
        assert ended.returncode == 2, ended.stdout + ended.stderr
        (line,) = ended.stderr.strip().splitlines()
        return line

    assert "task 'vqa' is not that of demo_captions; write: icd-assets train caption" in refused("vqa", *CELL[1:])
    assert "REWARD_MODE soft_only is not a reward of the task caption" in refused(*CELL, REWARD_MODE="soft_only")
    assert "needs Java, but there is no java on PATH" in refused(*CELL, PATH=str(tmp_path))
    file = place.folder / "captions_train.json"
    file.write_bytes(file.read_bytes()[:2000])
    assert "captions_train.json is not complete JSON" in refused(*CELL)


def test_text_similarity_compares_a_querys_image_with_captions(captioned: tuple[Workplace, str]) -> None:
    place, _ = captioned
    cell = [*CELL[:4], "text_sim_sampler", CELL[5]]
    ended = place.run("train", *cell, "--to", "candidate_pools")
    assert ended.returncode == 0, ended.stderr
    features = {}
    for path in place.results.glob(".icd_assets/features/*/*.npy"):
        name, _, kind = path.stem.rsplit("-", 2)
        features[name, kind] = np.load(path)
    images = features["demo_captions-train", "image"]
    captions = features["demo_captions-train-captions", "text"]
    pools = read(place, "cache/demo_captions-TextSimSampler-anchor_sample_num: 24:64-.json")
    assert len(pools) == 24
    for anchor, pool in pools.items():
        similarity = captions.astype(float) @ images[int(anchor)].astype(float)
        similarity[int(anchor)] = -np.inf
        assert pool == np.argsort(-similarity, kind="stable")[:64].tolist()


def test_another_split_of_the_same_file_is_another_dataset(
    captioned: tuple[Workplace, str], tmp_path: Path
) -> None:
    catalog = Catalog.load(captioned[0].folder / "catalog.yaml")
    entry = catalog.datasets["demo_captions"]
    file = captioned[0].folder / "captions_train.json"

    def digest(part: str | None) -> str:
        files = CaptionFiles(captions=str(file), images="{image_id}.jpg", split=part)
        datasets = {"demo_captions": entry.model_copy(update={"train": files})}
        changed = catalog.model_copy(update={"datasets": datasets})
        cell = Cell("demo_captions", "RandSampler", "tiny_vl")
        return Experiment.open(cell, Settings(), tmp_path, changed).data.digest("train").data_version

    assert len({digest(None), digest("train"), digest("test")}) == 3
    assert digest("test") == digest("test")


def test_a_missing_file_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCO_PATH", str(tmp_path))
    experiment = Experiment.open(Cell("coco2014", "RandSampler", "tiny_vl"), Settings(), tmp_path, Catalog.load())
    with pytest.raises(UserError, match=r"captions_train2014\.json; put the file there, or set COCO_PATH\."):
        experiment.data.digest("train")
