"""Pictures that are broken, or that the model's processor refuses, are named before a run if it needs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from icd_assets.datasets.vqa import VqaItem
from icd_assets.experiment.checks import pictures as module
from icd_assets.experiment.checks.look import Look
from icd_assets.experiment.checks.pictures import pictures, refusals
from icd_assets.vlm import processor as vlm_processor
from icd_assets.vlm.processor import load_processor, picture_refusal
from icd_assets_tests.experiment.checks.conftest import Opened, looked, problems
from icd_assets_tests.worlds.tiny_families import FAMILIES


def anchor(look: Look) -> VqaItem:
    return look.splits["train"][look.anchor_rows[0]]


def thin(path: Path, size: tuple[int, int] = (2500, 5)) -> None:
    Image.new("RGB", size).save(path, "JPEG")


def test_sound_pictures_pass(written: Opened) -> None:
    found = list(pictures(looked(written())))
    assert [finding.level for finding in found] == ["ok", "ok"]
    assert "train pictures decode" in found[0].found


@pytest.mark.parametrize("size", [(2500, 5), (3, 700)])
def test_a_thin_picture_is_named_with_its_question(written: Opened, size: tuple[int, int]) -> None:
    item = anchor(looked(written()))
    thin(item.image, size)
    (problem,) = problems(pictures(looked(written())))
    width, height = size
    assert f"{item.image} ({width}×{height}) of question_id" in problem
    assert "aspect ratio must be smaller than 200" in problem


def test_of_the_validation_split_too(written: Opened) -> None:
    item = looked(written()).splits["validation"][0]
    thin(item.image)
    assert str(item.image) in problems(pictures(looked(written())))[0]
    assert not problems(pictures(looked(written(), "beam_data")))  # which reads the train split alone


def test_a_picture_that_no_prompt_can_hold_stops_nothing(written: Opened) -> None:
    """A random sampler's draws are known; a sampler that compares may take any row."""
    sets = {("shared", "pool_size"): "8", ("evaluation", "num_queries"): "1"}
    look = looked(written(sets=sets))
    shown = module._Needed(look).asked("train")
    spare = next(path for path in look.splits["train"].images if path not in shown)
    thin(spare)
    assert not problems(pictures(looked(written(sets=sets))))
    assert str(spare) in problems(pictures(looked(written(sampler="text_sim_sampler", sets=sets))))[0]
    spare.write_bytes(b"")  # but embeddings are of every row
    assert "missing or unreadable" in problems(pictures(looked(written(sets=sets))))[0]
    assert not problems(pictures(looked(written(sets=sets), "beam_data", "rl_data")))


def test_all_that_is_wrong_is_found_at_once(written: Opened) -> None:
    look = looked(written())
    images = sorted(set(look.splits["train"].images))
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:300])
    thin(images[2])
    bad, refused = problems(pictures(looked(written(sampler="text_sim_sampler"))))
    assert f"2 of {len(images)} images are missing or unreadable" in bad
    assert str(images[2]) in refused


def test_a_size_is_shown_to_a_processor_once(written: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    experiment = replace(written(), read_only=False)
    assert set(refusals(looked(experiment), {(2500, 5), (64, 64)})) == {(2500, 5)}
    monkeypatch.setattr(vlm_processor, "load_processor", None)  # would fail
    assert set(refusals(looked(experiment), {(2500, 5)})) == {(2500, 5)}
    assert refusals(looked(experiment, "rce_checkpoints"), {(2500, 5)}) == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_asked_itself(family: str) -> None:
    """A refusal is what the whole processor says of such a picture."""
    processor = load_processor(FAMILIES[family]())
    for size in ((64, 48), (1, 1), (2500, 5), (5, 2500)):
        said = picture_refusal(processor, size)
        image = Image.new("RGB", size)
        try:
            processor.image_processor(images=[image], return_tensors="pt")
        except Exception as error:  # noqa: BLE001 - each in its own way
            assert said == str(error).splitlines()[0]
        else:
            assert said is None
