"""The arithmetic of benchmarks/real_size_vlm.py against the public figure and against what torch counts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForImageTextToText

from icd_assets.demo.pieces import qwen_tokenizer


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "real_size_vlm.py"
    spec = importlib.util.spec_from_file_location("real_size_vlm", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["real_size_vlm"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_true_configuration_has_the_public_number_of_parameters(benchmark: ModuleType) -> None:
    shape = benchmark.config(qwen_tokenizer(), tiny=False)
    assert sum(benchmark.parameters(shape).values()) == pytest.approx(3.75e9, rel=0.01)
    assert benchmark.cost(shape, (34, 46), 3, 1250).kv_bytes_per_token == 36 * 2 * 2 * 128 * 2


def test_torch_counts_the_same_operations(benchmark: ModuleType) -> None:
    shape = benchmark.config(qwen_tokenizer(), tiny=True)
    shape._attn_implementation = "eager"  # whose products the counter sees
    shape.vision_config.fullatt_block_indexes = [1]  # the other layer sees windows of 8×8 patches
    model = AutoModelForImageTextToText.from_config(shape).eval()
    grid, images = (16, 16), 2
    ids = torch.randint(300, 400, (1, 150))
    ids[0, 2:66] = ids[0, 70:134] = shape.image_token_id
    pixels = torch.randn(images * 256, 3 * 2 * 14 * 14)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(
            input_ids=ids,
            mm_token_type_ids=(ids == shape.image_token_id).int(),
            pixel_values=pixels,
            image_grid_thw=torch.tensor([[1, *grid]] * images),
            logits_to_keep=1,
        )
    expected = benchmark.cost(shape, grid, images, 150)
    assert counter.get_total_flops() == pytest.approx(expected.forward, rel=0.005)
