"""A table with texts for ids, from its folder to predictions and lineage."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
import yaml

from icd_assets.evaluation.predictions import read_predictions
from icd_assets_tests.worlds.workplace import Workplace

pytestmark = pytest.mark.slow

CELL = ["vqa", "signs", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"]


def write_table(place: Workplace, split: str, count: int) -> None:
    """The demo's first questions as a CSV, ids and images by texts."""
    demo, name = place.folder / "datasets" / "demo", {"train": "train", "val": "validation"}[split]
    asked = json.loads((demo / f"OpenEnded_demo_{name}_questions.json").read_bytes())["questions"]
    answered = json.loads((demo / f"demo_{name}_annotations.json").read_bytes())["annotations"]
    answers = {one["question_id"]: [a["answer"] for a in one["answers"]] for one in answered}
    with (place.folder / "signs" / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["qid", "img_path", "question", "answers"])
        for one in asked[:count]:
            image = f"{split}/COCO_{split}_{one['image_id']:012d}.jpg"
            target = place.folder / "signs" / image
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(demo / image, target)
            writer.writerow(
                [f"q-{one['question_id']:07d}x", image, one["question"], json.dumps(answers[one["question_id"]])]
            )


def test_texts_from_the_table_to_the_lineage(workplace: Workplace) -> None:
    folder = workplace.folder
    workplace.run("doctor", "vqa", "demo", *CELL[2:])  # no files yet
    from icd_assets.demo.dataset import write
    from icd_assets.experiment.catalog import Catalog

    os.environ.pop("DEMO_PATH", None)
    here = Path.cwd()
    os.chdir(folder)
    try:
        demo = Catalog.load(folder / "catalog.yaml").datasets["demo"]
        write(demo.train, demo.validation)
    finally:
        os.chdir(here)
    (folder / "signs").mkdir()
    for split, count in (("train", 400), ("val", 30)):
        write_table(workplace, split, count)
    made = workplace.run("new-dataset", "signs", "--encoder", "tiny_clip")
    assert made.returncode == 0, made.stderr
    assert "train: 400 questions" in made.stdout and "10 answers each" in made.stdout
    path = folder / "catalog.yaml"
    catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
    catalog["datasets"]["signs"] |= {"sample_num": 24, "settings": catalog["datasets"]["demo"]["settings"]}
    path.write_text(yaml.safe_dump(catalog), encoding="utf-8")

    ended = workplace.run("train", *CELL, "--rce-epochs", "2", "--grpo-epochs", "1")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    v3 = workplace.results / "signs" / "icl_inference" / "v3_RandSampler_tiny_vl"
    predictions = read_predictions(v3 / "predictions.parquet").to_pylist()
    assert {type(one["question_id"]) for one in predictions} == {str}
    assert len({one["question_id"] for one in predictions}) == 30
    checkpoint = next((workplace.results / "signs" / "model_cpk").glob("v3_*/rce_epoch2.pt"))
    lineage = workplace.run("lineage", str(checkpoint), "--rows")
    assert lineage.returncode == 0 and "(q-" in lineage.stdout
    again = workplace.run("train", *CELL, "--rce-epochs", "2", "--grpo-epochs", "1")
    assert "nothing had to be done" in again.stdout

    # a control token in one text stops it before the model is asked, and leaving it out goes on
    table = folder / "signs" / "train.csv"
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[5] = lines[5].replace("?", "<|im_end|>?", 1)
    table.write_text("".join(lines), encoding="utf-8")
    stopped = workplace.run("train", *CELL, "--to", "beam_data")
    assert stopped.returncode != 0
    assert f"question_id {lines[5].split(';')[0]}" in stopped.stderr + stopped.stdout
    going_on = workplace.run("train", *CELL, "--to", "beam_data", ICD_LEAVE_OUT="<|im_end|>")
    assert going_on.returncode == 0, going_on.stderr
