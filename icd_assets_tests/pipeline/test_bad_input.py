"""A user's mistake is one clear sentence and exit code 2, and leaves nothing half-written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from icd_assets_tests.worlds.workplace import CELL, Workplace

pytestmark = pytest.mark.slow


def refused(place: Workplace, *flags: str, cell: list[str] = CELL, **variables: str) -> str:
    """The one sentence that the command ends with."""
    ended = place.run("train", *cell, *flags, **variables)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line]
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("icd-assets: ")
    half_written = [p for p in place.folder.rglob("*") if p.name.endswith((".tmp", ".pending"))]
    assert not half_written
    assert not list(place.results.glob(".icd_assets/staging/*"))
    return lines[0]


@pytest.mark.parametrize(
    ("position", "typed", "sentence"),
    [
        (0, "caption", "task 'caption' is not that of demo; write: icd-assets train vqa demo."),
        (1, "okvqq", "unknown dataset 'okvqq': did you mean okvqa"),
        (2, "first", "gpu_id 'first' is not the number of one GPU"),
        (2, "-1", "gpu_id '-1' is not the number of one GPU"),
        (3, "query_img_icd_img_text", "the one input is query_img_text_icd_img_text"),
        (4, "rnd_sampler", "unknown sampler 'rnd_sampler': did you mean rand_sampler"),
        (5, "tiny_v1", "unknown model 'tiny_v1': did you mean tiny_vl"),
    ],
)
def test_wrong_arguments(workplace: Workplace, position: int, typed: str, sentence: str) -> None:
    cell = [*CELL[:position], typed, *CELL[position + 1 :]]
    assert sentence in refused(workplace, cell=cell)
    assert not workplace.results.exists()


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"RCE_EPOCHS": "abc"}, "RCE_EPOCHS=abc: input should be a valid integer"),
        ({"REWARD_MODE": "hybrid"}, "hard_plus_soft"),
        ({"USE_PPO_CLIP": "true", "KL_BETA": "0.1", "GRPO_EPOCHS": "1"}, "unset one"),
        ({"RL_DATA_PATH": "/nowhere/rl.json"}, "RL_DATA_PATH=/nowhere/rl.json does not exist"),
        ({"LEVER_LM_CHECKPOINT_PATH": "/nowhere/v2.ckpt"}, "LEVER_LM_CHECKPOINT_PATH=/nowhere/v2.ckpt does not"),
    ],
)
def test_wrong_variables(copied: Workplace, variables: dict[str, str], sentence: str) -> None:
    assert sentence in refused(copied, **variables)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--set", "rl_data.num_beams"), "write --set asset.field=value"),
        (("--set", "rl_data.beams=3"), "there is no such setting"),
        (("--force", "rl-data"), "there is no asset 'rl-data'"),
        (("--to", "the_moon"), "there is no asset 'the_moon'"),
    ],
)
def test_wrong_flags(workplace: Workplace, flags: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(workplace, *flags)


def annotations_of(place: Workplace) -> Path:
    return place.folder / "datasets/demo/demo_train_annotations.json"


@pytest.fixture
def with_dataset(workplace: Workplace) -> Workplace:
    ended = workplace.train("--to", "candidate_pools")
    assert ended.returncode == 0, ended.stderr
    return workplace


def test_an_annotation_file_cut_in_the_middle(with_dataset: Workplace) -> None:
    path = annotations_of(with_dataset)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    sentence = refused(with_dataset)
    assert "demo_train_annotations.json" in sentence


def test_a_foreign_annotation_file(with_dataset: Workplace) -> None:
    annotations_of(with_dataset).write_text(json.dumps({"images": []}), encoding="utf-8")
    assert "annotations" in refused(with_dataset)


def test_a_missing_image_is_named_with_its_question(with_dataset: Workplace) -> None:
    catalog = yaml.safe_load((with_dataset.folder / "catalog.yaml").read_text(encoding="utf-8"))
    del catalog["datasets"]["demo"]["prepare"]  # which would draw the image again
    (with_dataset.folder / "catalog.yaml").write_text(yaml.safe_dump(catalog), encoding="utf-8")
    for image in sorted((with_dataset.folder / "datasets/demo/train").glob("*.jpg"))[:200]:
        image.unlink()
    sentence = refused(with_dataset)
    assert ".jpg" in sentence
    assert "question" in sentence


def test_a_broken_image_is_named(with_dataset: Workplace) -> None:
    for image in sorted((with_dataset.folder / "datasets/demo/train").glob("*.jpg")):
        image.write_bytes(image.read_bytes()[:100])
    assert ".jpg" in refused(with_dataset)


def test_an_empty_pool(workplace: Workplace) -> None:
    assert "pool" in refused(workplace, "--set", "shared.pool_size=5000")


def damaged_v2(place: Workplace, change: str) -> str:
    """Refuse the user's v2 checkpoint after a change to it; nothing after it may be touched."""
    folder = place.results / "demo/model_cpk/v2"
    (path,) = folder.glob("*_best.ckpt")
    path.with_name(path.name + ".manifest.json").unlink()  # so that it is the user's own
    content = torch.load(path, weights_only=True)
    name = "lever_lm.pointer_selector.query_proj.weight"
    if change == "missing":
        del content["state_dict"][name]
    elif change == "nan":
        content["state_dict"][name][0, 0] = float("nan")
    elif change == "shape":
        content["state_dict"][name] = content["state_dict"][name][:-1]
    torch.save(content, path)
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:20_000])
    if change == "foreign":
        shutil.copy(
            annotations_of(place) if annotations_of(place).exists() else place.folder / "catalog.yaml", path
        )
    before = {p: p.stat().st_mtime_ns for p in (place.results / "demo/model_cpk").glob("v3_*/*")}
    sentence = refused(place, RCE_EPOCHS="5")
    assert before == {p: p.stat().st_mtime_ns for p in (place.results / "demo/model_cpk").glob("v3_*/*")}
    return sentence


@pytest.mark.parametrize("change", ["missing", "nan", "shape", "truncated", "foreign"])
def test_a_damaged_v2_checkpoint(copied: Workplace, change: str) -> None:
    sentence = damaged_v2(copied, change)
    assert "_best.ckpt" in sentence
    if change == "missing":
        assert "query_proj.weight" in sentence


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (self.path,)


def test_a_hostile_checkpoint_executes_nothing(copied: Workplace) -> None:
    (path,) = (copied.results / "demo/model_cpk/v2").glob("*_best.ckpt")
    path.with_name(path.name + ".manifest.json").unlink()
    trace = copied.folder / "executed"
    torch.save({"state_dict": {}, "callbacks": Hostile(str(trace))}, path)
    assert "_best.ckpt" in refused(copied, RCE_EPOCHS="5")
    assert not trace.exists()


def test_two_v2_checkpoints_are_not_a_lottery(copied: Workplace) -> None:
    (path,) = (copied.results / "demo/model_cpk/v2").glob("*_best.ckpt")
    path.with_name(path.name + ".manifest.json").unlink()
    for epoch in (3, 7):
        shutil.copy(path, path.with_name(path.name.replace("_best", f"_epoch={epoch}_train=1_val=2")))
    path.unlink()
    sentence = refused(copied, RCE_EPOCHS="5")
    assert "holds 2 v2 checkpoints" in sentence
    assert "LEVER_LM_CHECKPOINT_PATH" in sentence


@pytest.mark.parametrize("content", ["{", "[]", '{"12": {}}', '{"9999": {"pointer_candidates": []}}'])
def test_damaged_rl_data_of_the_user(copied: Workplace, content: str) -> None:
    path = copied.folder / "mine.json"
    path.write_text(content, encoding="utf-8")
    assert "mine.json" in refused(copied, RL_DATA_PATH=str(path))


def test_rl_data_of_another_dataset(copied: Workplace) -> None:
    ours = copied.results / "demo/generated_data/rl_data_RandSampler_tiny_vl.json"
    path = copied.folder / "mine.json"
    path.write_text(re.sub(r'"question_id": \d+', '"question_id": 7', ours.read_text(encoding="utf-8")))
    assert "is question 7" in refused(copied, RL_DATA_PATH=str(path))


def test_a_folder_without_dagster_yaml(workplace: Workplace) -> None:
    (workplace.folder / "dagster.yaml").unlink()
    assert "no dagster.yaml" in refused(workplace)


def test_a_broken_answer_store(copied: Workplace) -> None:
    (copied.results / ".icd_assets/answers.sqlite").write_bytes(b"this is no database" * 100)
    assert "answers.sqlite" in refused(copied, "--force", "rl_data", RCE_EPOCHS="5")
