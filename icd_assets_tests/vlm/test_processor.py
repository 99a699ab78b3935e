from pathlib import Path

import pytest
from PIL import Image

from icd_assets.errors import UserError
from icd_assets.vlm.processor import load_processor
from icd_assets_tests.vlm.tiny import tiny_clip, tiny_vl


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
