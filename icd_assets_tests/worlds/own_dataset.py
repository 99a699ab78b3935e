"""A user's own small dataset in the official form, its pictures, and an overlay that names it; no model runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import read_settings
from icd_assets_tests.worlds.vqa_files import annotation

TINY = {"encoder": "tiny_clip", "sampler_encoder": "tiny_clip"}


def write_picture(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (len(path.name) * 9 % 255, 80, 120)).save(path)
    return path


def write_split(folder: Path, name: str, rows: Sequence[tuple[Any, Any, str, list[str]]]) -> dict[str, str]:
    """``rows``: (question_id, image_id, question, answers). The split's entry of the catalog."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = ("question_id", "image_id", "question")
    asked = [dict(zip(keys, row, strict=False)) for row in rows]
    answered = [annotation(question_id, image_id, answers) for question_id, image_id, _, answers in rows]
    files = {"questions": folder / f"{name}_questions.json", "annotations": folder / f"{name}_annotations.json"}
    for (kind, path), records in zip(files.items(), (asked, answered), strict=True):
        path.write_text(json.dumps({kind: records}), encoding="utf-8")
    for image_id in dict.fromkeys(row[1] for row in rows):
        write_picture(folder / "images" / f"{image_id}.jpg")
    return {**{kind: str(path) for kind, path in files.items()}, "images": f"{folder}/images/{{image_id}}.jpg"}


def plain_rows(count: int, start: int = 0) -> list[tuple[Any, Any, str, list[str]]]:
    return [(10 * n, n, f"What is number {n}?", [f"a{n}"] * 3) for n in range(start, start + count)]


def open_own(
    folder: Path,
    train: Sequence[tuple[Any, Any, str, list[str]]],
    validation: Sequence[tuple[Any, Any, str, list[str]]],
    *,
    entry: Mapping[str, Any] = {},
    sets: Mapping[tuple[str, str], str] = {},
    model: str = "tiny_vl",
    models: Mapping[str, Any] = {},
) -> Experiment:
    """The cell of the dataset ``mine`` with the tiny models."""
    overlay = {
        "datasets": {
            "mine": {
                "alias_prefixes": ["mine"],
                "sample_num": 800,
                **TINY,
                "train": write_split(folder, "train", train),
                "validation": write_split(folder, "val", validation),
                **entry,
            }
        },
        "models": dict(models),
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    catalog = Catalog.load(folder / "mine.yaml")
    settings = read_settings(None, {}, dict(sets))
    return Experiment.open(catalog.cell("mine", "rand_sampler", model), settings, folder / "results", catalog)
