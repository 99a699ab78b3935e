"""The demo's pictures with questions of four options in A-OKVQA's form: small enough to train in a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from icd_assets.demo.dataset import SEED, TRAIN, VALIDATION, Row, Split, rows
from icd_assets.demo.world import ANSWERS, Knowledge, render
from icd_assets.runtime.seeding import python_rng
from icd_assets_tests.worlds.workplace import Workplace, new_workplace

QUESTIONS = {"train": 120, "val": 30}
OPTIONS = 4


def new_choice_workplace(folder: Path) -> Workplace:
    """``demo_choices``: 24 anchors, a handful of epochs."""
    place = new_workplace(folder)
    for split, name in ((TRAIN, "train"), (VALIDATION, "val")):
        drawn = rows(split)[: QUESTIONS[name]]
        for row in drawn:
            path = folder / "choices" / name / f"{row.image_id:012d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            render(row.scene, python_rng(0, "choices", row.image_id)).save(path, "JPEG")
        content = [_record(row, split, name) for row in drawn]
        (folder / f"choices_{name}.json").write_text(json.dumps(content), encoding="utf-8")
    catalog = folder / "catalog.yaml"
    content = yaml.safe_load(catalog.read_text(encoding="utf-8"))
    content["datasets"] = {"demo_choices": dataset_entry()}
    # The tiny model's own wording: it answers with an option's word if a demonstration does.
    wording = {"prompt": {"question": "{question}"}, "generation": {"max_new_tokens": 4}}
    content["tasks"] = {"multiple_choice": wording}
    catalog.write_text(yaml.safe_dump(content), encoding="utf-8")
    return place


def _record(row: Row, split: Split, name: str) -> dict[str, Any]:
    """As A-OKVQA's records are, ``direct_answers`` and all."""
    rng = python_rng(0, "choices", row.question_id)
    kind = row.wording.kind
    right = Knowledge.draw(python_rng(SEED, "demo", "knowledge")).answer(row.scene, kind)
    others = [answer for answer in ANSWERS[kind] if answer != right]
    choices = [right, *rng.sample(others, OPTIONS - 1)]
    rng.shuffle(choices)
    return {
        "split": name,
        "image_id": row.image_id,
        "question_id": f"q{row.question_id}",
        "question": row.wording.text,
        "choices": choices,
        "correct_choice_idx": choices.index(right),
        "direct_answers": list(row.answers),
        "difficult_direct_answer": False,
        "rationales": ["", "", ""],
    }


def dataset_entry() -> dict[str, Any]:
    files = {
        split: {"questions": f"choices_{name}.json", "images": f"choices/{name}/{{image_id:012d}}.jpg"}
        for split, name in (("train", "train"), ("validation", "val"))
    }
    return {
        "task": "multiple_choice",
        "alias_prefixes": ["demo_choices"],
        "sample_num": 24,
        "encoder": "tiny_clip",
        "sampler_encoder": "tiny_clip",
        "settings": {
            "beam_data": {"expand": 4},
            "v2_checkpoint": {"hidden_dim": 64, "epochs": 2, "lr": 0.001},
            "evaluation": {"oracle_beams": 1, "oracle_expand": 4},
        },
        **files,
    }
