"""The encoder against transformers' own CLIP, one item at a time."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from icd_assets.datasets.vqa import VqaItem, read_split
from icd_assets.errors import UserError
from icd_assets.selector.encoder import ClipEncoder, combine
from icd_assets.vlm.images import read_image
from icd_assets_tests.worlds.tiny import tiny_clip, tiny_vl, write_images
from icd_assets_tests.worlds.vqa_files import annotation, write_files

QUESTIONS = ["what is it?", "why?", "which dog?", "what is it?", "how many?", "who?", "when?"]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[VqaItem]:
    images = write_images(tmp_path_factory.mktemp("images"), 4)
    return [
        VqaItem(
            row=row,
            question_id=row,
            image_id=row % 4,
            question=question,
            answer="secret",
            answers=("secret",),
            question_type="what",
            answer_type="other",
            image=images[row % 4],
        )
        for row, question in enumerate(QUESTIONS)
    ]


@pytest.fixture(scope="module")
def encoder() -> ClipEncoder:
    return ClipEncoder.load(str(tiny_clip()))


@torch.no_grad()
def by_hand(items: list[VqaItem]) -> tuple[torch.Tensor, torch.Tensor]:
    model = CLIPModel.from_pretrained(tiny_clip()).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_clip())
    processor = AutoImageProcessor.from_pretrained(tiny_clip(), backend="pil")
    text, image = [], []
    for item in items:
        pixels = processor(images=[read_image(item.image)], return_tensors="pt")
        output = model(**tokenizer([item.question], return_tensors="pt"), **pixels)
        text.append(output.text_embeds[0])
        image.append(output.image_embeds[0])
    return torch.stack(text), torch.stack(image)


def test_features_are_clips(encoder: ClipEncoder, items: list[VqaItem]) -> None:
    text, image = by_hand(items)
    found_text, found_image = encoder.features(items, batch_size=3)
    assert found_text.dtype == found_image.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(found_text), text, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.from_numpy(found_image), image, atol=1e-5, rtol=0)


def test_an_embedding_is_the_normalized_mean_of_both(encoder: ClipEncoder, items: list[VqaItem]) -> None:
    text, image = by_hand(items)
    found = encoder.encode(items)
    assert found.shape == (len(items), encoder.dim)
    torch.testing.assert_close(found, normalize((text + image) / 2, dim=-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(len(items)))


def test_batches_change_nothing_that_counts(encoder: ClipEncoder, items: list[VqaItem]) -> None:
    torch.testing.assert_close(encoder.encode(items, batch_size=1), encoder.encode(items, batch_size=64))
    assert torch.equal(encoder.encode(items), encoder.encode(items))


def test_the_answer_is_never_encoded(encoder: ClipEncoder, items: list[VqaItem]) -> None:
    others = [replace(item, answer="other", answers=("other",)) for item in items]
    assert torch.equal(encoder.encode(items), encoder.encode(others))


def test_a_long_question_is_cut_and_logged(
    encoder: ClipEncoder, items: list[VqaItem], caplog: pytest.LogCaptureFixture
) -> None:
    long = replace(items[0], question="what " * 30)
    with caplog.at_level(logging.WARNING):
        found = encoder.encode([long, items[1]])
    assert "1 questions are longer" in caplog.text
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[1], encoder.encode([items[1]])[0])


def test_a_checkpoints_towers_give_the_same_encoder(encoder: ClipEncoder, items: list[VqaItem]) -> None:
    state = encoder.state_dict()
    assert {name.split(".")[0] for name in state} == {"sen_model", "img_model"}
    assert "sen_model.text_projection.weight" in state
    assert "img_model.visual_projection.weight" in state
    other = {"pointer_selector.input_proj.weight": torch.zeros(1)}
    again = ClipEncoder.from_state(state | other, str(tiny_clip(seed=1)))
    assert torch.equal(again.encode(items), encoder.encode(items))
    assert again.digest == encoder.digest
    assert ClipEncoder.load(str(tiny_clip(seed=1))).digest != encoder.digest


def test_old_position_counters_are_no_weights(encoder: ClipEncoder) -> None:
    counter = {"sen_model.text_model.embeddings.position_ids": torch.arange(16)[None]}
    ClipEncoder.from_state(encoder.state_dict() | counter, str(tiny_clip()))


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_a_checkpoints_towers_are_loaded_strictly(encoder: ClipEncoder, fault: str) -> None:
    state = dict(encoder.state_dict())
    name = "img_model.visual_projection.weight"
    if fault == "missing":
        del state[name]
    elif fault == "extra":
        state["img_model.lora.weight"] = torch.zeros(1)
    else:
        state[name] = state[name][:2]
    with pytest.raises(UserError, match=r"projection|lora"):
        ClipEncoder.from_state(state, str(tiny_clip()))


def test_weights_with_a_hole_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_clip(), tmp_path / "holed"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="text_projection"):
        ClipEncoder.load(str(folder))


def test_a_model_that_is_no_clip_is_refused() -> None:
    with pytest.raises(UserError, match="qwen2_5_vl"):
        ClipEncoder.load(str(tiny_vl()))


def test_a_broken_image_is_named(encoder: ClipEncoder, items: list[VqaItem], tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no")
    with pytest.raises(UserError, match=r"broken\.jpg"):
        encoder.encode([replace(items[0], image=tmp_path / "broken.jpg")])


def test_each_content_is_encoded_once_and_progress_says_so(encoder: ClipEncoder, items: list[VqaItem]) -> None:
    seen: list[tuple[int, int]] = []
    encoder.encode(items, batch_size=2, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6 + 4, 6 + 4)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_no_items_give_no_rows(encoder: ClipEncoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_an_item_without_a_question_is_its_image_alone(encoder: ClipEncoder, items: list[VqaItem]) -> None:
    captions = [replace(item, question="", answer=f"caption {item.row}") for item in items]
    text, image = encoder.features(captions)
    assert np.array_equal(text, image)
    assert torch.allclose(encoder.encode(captions), torch.from_numpy(image), atol=1e-6)
    mixed = encoder.encode([items[0], captions[1]])
    assert torch.allclose(mixed[0], encoder.encode(items)[0], atol=1e-6)
    assert torch.allclose(mixed[1], torch.from_numpy(image[1]), atol=1e-6)


def test_a_large_split_is_combined_in_parts_of_the_same_bits(
    encoder: ClipEncoder, items: list[VqaItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, image = map(torch.from_numpy, encoder.features(items))
    whole = combine(text, image)
    for rows in (1, 2, 3, 100):
        monkeypatch.setattr("icd_assets.selector.encoder._ROWS", rows)
        assert torch.equal(encoder.encode(items), whole)


def test_a_splits_columns_are_encoded_as_its_items(encoder: ClipEncoder, tmp_path: Path) -> None:
    write_images(tmp_path, 4)
    questions = [(row, row % 4, question) for row, question in enumerate(QUESTIONS)]
    files = write_files(tmp_path, questions, [annotation(row, row % 4, ["x"]) for row in range(len(QUESTIONS))])
    first, *_ = sorted(path.name for path in tmp_path.iterdir() if path.suffix not in (".json",))
    split = read_split("okvqa", "train", *files, str(tmp_path / first.replace("0", "{image_id}", 1)))
    assert torch.equal(encoder.encode(split), encoder.encode(list(split)))


def test_the_digest_is_the_same_before_and_after_encoding(tmp_path):
    before = ClipEncoder.load(str(tiny_clip())).digest
    used = ClipEncoder.load(str(tiny_clip()))
    used.text_features(["what shape is this", "which color is this"])
    assert used.digest == before
