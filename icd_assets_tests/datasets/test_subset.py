"""A subset of the validation questions: its rows, its place in an evaluation's identity, and its alias."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from icd_assets.datasets.subset import read_subset
from icd_assets.datasets.vqa import read_split
from icd_assets.errors import UserError
from icd_assets.evaluation.predictions import read_predictions
from icd_assets_tests.worlds.vqa_files import IMAGES, annotation, joined, write_files
from icd_assets_tests.worlds.workplace import CELL, Workplace

QUESTIONS = [(10 * n, n, f"question {n}?") for n in range(1, 8)]
ANNOTATIONS = [annotation(10 * n, n, ["x"]) for n in range(1, 8)]


def subset(folder: Path, ids: list[int]) -> Path:
    listed = {record["question_id"]: record for record in joined(QUESTIONS, ANNOTATIONS)}
    path = folder / "val2014_subset.json"
    path.write_text(json.dumps({"annotations": [listed.get(i, {"question_id": i}) for i in ids]}))
    return path


def test_rows_come_in_row_order(tmp_path):
    split = read_split("vqav2", "validation", *write_files(tmp_path, QUESTIONS, ANNOTATIONS), IMAGES)
    assert read_subset(subset(tmp_path, [60, 10, 40]), split) == [0, 3, 5]
    with pytest.raises(UserError, match=r"annotations\[1\]: question_id 65 is not in the validation split"):
        read_subset(subset(tmp_path, [10, 65]), split)
    with pytest.raises(UserError, match=r"annotations\[2\]: question_id 10 is listed twice"):
        read_subset(subset(tmp_path, [10, 20, 10]), split)


def with_subset(place: Workplace) -> Path:
    """The demo with a subset file named in its catalog."""
    path = place.folder / "subset.json"
    catalog = yaml.safe_load((place.folder / "catalog.yaml").read_text(encoding="utf-8"))
    catalog["datasets"]["demo"]["validation"]["subset"] = str(path)
    (place.folder / "catalog.yaml").write_text(yaml.safe_dump(catalog), encoding="utf-8")
    return path


def test_the_alias_asks_the_subset_and_a_missing_file_is_said_at_once(workplace: Workplace):
    names = ["vqa", "demo_local_sub", *CELL[2:]]
    refused = workplace.run("train", *names, "--dry-run")
    assert refused.returncode == 2 and "names no subset of demo's validation split" in refused.stderr
    path = with_subset(workplace)
    refused = workplace.run("train", *names, "--dry-run")
    assert refused.returncode == 2 and f"{path} does not exist" in refused.stderr
    assert not (workplace.results / "demo").exists()
    for flags in (["--to", "rl_data"], ["--set", "evaluation.subset=false"]):
        assert workplace.run("train", *names, "--dry-run", *flags).returncode == 0
    path.write_text("{}")
    refused = workplace.run("train", *names, "--dry-run")
    assert refused.returncode == 2 and f"{path} has no key 'annotations'" in refused.stderr


@pytest.mark.slow
def test_an_evaluation_of_the_subset(copied: Workplace):
    path = with_subset(copied)
    records = json.loads((copied.folder / "datasets/demo/demo_validation_annotations.json").read_text())[
        "annotations"
    ]
    listed = [records[row]["question_id"] for row in (50, 3, 200)]
    path.write_text(json.dumps({"annotations": [{"question_id": listed_id} for listed_id in listed]}))
    command = ["vqa", "demo_local_sub", *CELL[2:]]
    recipe = {"RCE_EPOCHS": "5", "GRPO_EPOCHS": "3", "FREEZE_BACKBONE_IN_GRPO": "true"}
    whole = copied.run("train", *CELL, "--dry-run", **recipe)
    assert "stale" not in whole.stdout + whole.stderr  # a subset that is not asked for changes nothing
    flags = ["--set", "evaluation.oracle_beams=0"]
    ended = copied.run("train", *command, *flags, TEST_DATA_NUM="2", **recipe)
    assert ended.returncode == 0, ended.stderr
    folder = copied.results / "demo/icl_inference/v3_RandSampler_tiny_vl"
    asked = read_predictions(folder / "predictions.parquet")["question_id"].to_pylist()
    assert set(asked) == {listed[0], listed[1]}  # the first two rows
    made = json.loads((folder / "evaluation.manifest.json").read_text())
    assert made["facts"]["rows"] == 2 and "subset" in made["want"]["inputs"]
    path.write_text(path.read_text() + "\n")
    again = copied.run("train", *command, *flags, "--dry-run", TEST_DATA_NUM="2", **recipe)
    assert "subset changed" in again.stdout
