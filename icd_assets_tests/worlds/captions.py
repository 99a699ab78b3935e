"""The demo's pictures with captions instead of questions: a caption dataset small enough to train in a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from icd_assets.demo.dataset import TRAIN, VALIDATION, rows
from icd_assets.demo.world import ANSWERS, COLOR_NAMES, SHAPES, Scene, render
from icd_assets.runtime.seeding import python_rng
from icd_assets_tests.worlds.workplace import Workplace, new_workplace

IMAGES = {"train": 100, "val": 30}


def new_caption_workplace(folder: Path) -> Workplace:
    """``demo_captions``: 24 anchors, a handful of epochs, COCO's layout of files."""
    place = new_workplace(folder)
    for split, name in ((TRAIN, "train"), (VALIDATION, "val")):
        scenes = dict(list({row.image_id: row.scene for row in rows(split)}.items())[: IMAGES[name]])
        annotations = []
        for image_id, scene in scenes.items():
            path = folder / "captions" / name / f"{image_id:012d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            render(scene, python_rng(0, "captions", image_id)).save(path, "JPEG")
            annotations += [{"image_id": image_id, "caption": text} for text in _captions(scene)]
        content = {"images": [{"id": image_id} for image_id in scenes], "annotations": annotations}
        (folder / f"captions_{name}.json").write_text(json.dumps(content), encoding="utf-8")
    catalog = folder / "catalog.yaml"
    content = yaml.safe_load(catalog.read_text(encoding="utf-8"))
    content["datasets"] = {"demo_captions": dataset_entry()}
    # The tiny model has never seen a caption, but it tells a sound if a demonstration of the same shape does.
    wording = {"question": "tell me, what sound does it make?{question}"}
    content["tasks"] = {"caption": {"prompt": wording, "generation": {"max_new_tokens": 6}}}
    catalog.write_text(yaml.safe_dump(content), encoding="utf-8")
    return place


def _captions(scene: Scene) -> list[str]:
    sound, color, shape = ANSWERS["sound"][scene.shape], COLOR_NAMES[scene.color], SHAPES[scene.shape]
    return [sound, f"{sound.capitalize()}, says the {color} {shape}.", f"A {color} {shape} goes: {sound}!"]


def dataset_entry() -> dict[str, Any]:
    files = {
        split: {"captions": f"captions_{name}.json", "images": f"captions/{name}/{{image_id:012d}}.jpg"}
        for split, name in (("train", "train"), ("validation", "val"))
    }
    return {
        "task": "caption",
        "alias_prefixes": ["demo_captions"],
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
