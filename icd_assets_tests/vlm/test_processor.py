import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers.models.auto import image_processing_auto
from transformers.models.smolvlm import processing_smolvlm

from icd_assets.errors import UserError
from icd_assets.vlm.processor import load_processor
from icd_assets_tests.worlds.tiny import tiny_clip, tiny_vl
from icd_assets_tests.worlds.tiny_families import FAMILIES


def test_the_processor_loads_without_its_video_half() -> None:
    processor = load_processor(tiny_vl())
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    assert type(processor.image_processor).__name__.endswith("Pil")
    assert processor.tokenizer.eos_token == "<|im_end|>"
    assert "image_pad" in processor.chat_template


def test_pixel_limits_bound_the_image_tokens() -> None:
    wide = Image.new("RGB", (560, 280))

    def tokens(**limits: int) -> int:
        grid = load_processor(tiny_vl(), **limits).image_processor(images=[wide], return_tensors="pt")
        return int(grid["image_grid_thw"].prod()) // 4

    assert tokens() <= 9
    assert tokens(max_pixels=28 * 28 * 4) <= 4
    assert tokens(min_pixels=28 * 28 * 100, max_pixels=28 * 28 * 200) >= 100


def test_contradictory_limits_are_refused() -> None:
    with pytest.raises(UserError, match="min_pixels"):
        load_processor(tiny_vl(), min_pixels=9000, max_pixels=4000)


def test_a_model_that_does_not_chat_is_refused() -> None:
    with pytest.raises(UserError, match="chat"):
        load_processor(Path(tiny_clip()))


@pytest.mark.parametrize("family", FAMILIES)
def test_images_go_through_pillow_whatever_is_installed(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers prefers torchvision where it is. That it is there is faked, so what is looked at is what it
    decides: without torchvision it ends with Pillow all the same. The hub's files name the torchvision class."""
    decided: list[str] = []

    def decide(*arguments: Any, **more: Any) -> str:
        decided.append(resolve(*arguments, **more))
        return decided[-1]

    resolve = image_processing_auto._resolve_backend
    monkeypatch.setattr(image_processing_auto, "_resolve_backend", decide)
    folder = Path(shutil.copytree(FAMILIES[family](), tmp_path / "model"))
    for path in folder.glob("*processor_config.json"):
        path.write_text(path.read_text().replace("ProcessorPil", "ProcessorFast"))
    monkeypatch.setattr(image_processing_auto, "is_torchvision_available", lambda: True)
    processor = load_processor(folder)
    assert decided == ["pil"]
    assert type(processor.image_processor).__name__.endswith("ProcessorPil")
    assert not hasattr(processor, "video_processor")


def test_smolvlm_needs_no_package_that_counts_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    assert load_processor(FAMILIES["smolvlm"]()).image_token == "<image>"
    assert processing_smolvlm.num2words is None


@pytest.mark.parametrize("family", FAMILIES)
def test_pixel_limits_are_for_models_that_size_by_area(family: str) -> None:
    folder = FAMILIES[family]()
    if family.startswith("qwen"):
        assert load_processor(folder, max_pixels=9000).image_processor.size["longest_edge"] == 9000
    else:
        with pytest.raises(UserError, match="size images by area"):
            load_processor(folder, max_pixels=9000)
