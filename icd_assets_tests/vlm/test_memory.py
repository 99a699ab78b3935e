"""The memory estimate against arithmetic by hand, and against the bytes of a model that really runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig

from icd_assets.vlm.backend import Generation
from icd_assets.vlm.memory import GIB, PromptSize, Workload, model_sizes, prompt_size
from icd_assets.vlm.processor import load_processor, read_config
from icd_assets.vlm.prompts import PromptStyle
from icd_assets_tests.worlds.tiny_families import FAMILIES

TINY = Path(__file__).parents[2] / "icd_assets/demo/weights/tiny_vl"
BEAMS = Generation(max_new_tokens=5, num_beams=3)


@pytest.fixture(scope="module")
def qwen_3b() -> Any:
    """Qwen2.5-VL-3B-Instruct's public config.json."""
    text = {
        "vocab_size": 151_936,
        "hidden_size": 2048,
        "intermediate_size": 11_008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
    }
    vision = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 2048,
    }
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)


def test_qwen_3b_by_hand(qwen_3b: Any) -> None:
    sizes = model_sizes(qwen_3b)
    assert sizes.parameters == 3_754_622_976  # the hub says 3.75 B
    assert sizes.kv_bytes(2) == 2 * 36 * 2 * 128 * 2 == 36_864
    # Three images of 640×480: 46 × 34 patches of 14 pixels each, four patches a token.
    prompt = PromptSize(tokens=3 * 391 + 87, images=3, patches=3 * 46 * 34)
    found = Workload(sizes, prompt, "bfloat16", BEAMS, 8).memory()
    assert found.weights == 7_509_245_952
    cache = 36_864 * 24 * 1265  # 24 rows: 8 prompts of 3 beams; 1260 tokens and 5 new ones
    assert found.kv_cache == 2 * cache
    assert found.states == GIB + 32 * 1260 * 36_864  # four batches of eight prompts
    assert found.activations == 8 * 1260 * (2 * 2048 + 3 * 11_008) * 2 + 8 * 1260**2 * 3
    assert found.logits == 24 * 151_936 * 14
    assert found.vision == 46 * 34 * 5 * 5120 * 2  # one image at a time; the merger is 4 × 1280 wide
    assert found.features == GIB
    kept = found.weights + found.features + found.states
    assert found.model == kept + found.kv_cache + found.activations + found.logits
    assert 14.5 < found.on_gpu / GIB < 15.5


def test_batches_fit_and_the_next_does_not(qwen_3b: Any) -> None:
    sizes, prompt = model_sizes(qwen_3b), PromptSize(tokens=1260, images=3, patches=3 * 46 * 34)
    batch = Workload(sizes, prompt, "bfloat16", BEAMS, 1).largest_batch(24 * GIB)
    assert Workload(sizes, prompt, "bfloat16", BEAMS, batch).memory().on_gpu <= 24 * GIB
    assert Workload(sizes, prompt, "bfloat16", BEAMS, 2 * batch).memory().on_gpu > 24 * GIB
    assert Workload(sizes, prompt, "bfloat16", BEAMS, 1).largest_batch(8 * GIB) == 0
    assert Workload(sizes, prompt, "float32", BEAMS, 1).largest_batch(24 * GIB) < batch


def test_the_tiny_model_has_the_bytes_that_were_foretold() -> None:
    config = read_config(TINY)
    sizes = model_sizes(config)
    model = AutoModelForImageTextToText.from_pretrained(TINY, dtype=torch.float32)
    weights = {tensor.data_ptr(): tensor.nbytes for tensor in model.parameters()}
    prompt = PromptSize(tokens=20, images=1, patches=16)
    one = Generation(max_new_tokens=1, num_beams=1)
    found = Workload(sizes, prompt, "float32", one, 2).memory()
    assert found.weights == sum(weights.values())
    with torch.inference_mode():
        output = model(input_ids=torch.full((2, 21), 5), use_cache=True)
    cache = sum(layer.keys.nbytes + layer.values.nbytes for layer in output.past_key_values.layers)
    assert found.kv_cache == 2 * cache
    assert sizes.widest == 256
    assert sizes.hidden == 96


def test_a_prompt_is_measured_as_the_model_reads_it() -> None:
    config, processor = read_config(TINY), load_processor(TINY)
    style = PromptStyle(layout="turns", question="{question}", answer="{answer}")
    sizes = [
        prompt_size(processor, config, style, shots=shots, question="what color is it", image=(112, 112))
        for shots in (0, 2)
    ]
    assert [size.images for size in sizes] == [1, 3]
    assert sizes[1].patches == 3 * sizes[0].patches == 3 * 16
    assert sizes[1].tokens > 2 * sizes[0].tokens


def test_models_without_kept_features_encode_every_image_of_a_batch(qwen_3b: Any) -> None:
    from dataclasses import replace

    sizes, prompt = model_sizes(qwen_3b), PromptSize(tokens=1260, images=3, patches=3 * 1564)
    plain = Workload(replace(sizes, branches=False), prompt, "bfloat16", BEAMS, 8).memory()
    kept = Workload(sizes, prompt, "bfloat16", BEAMS, 8).memory()
    assert plain.vision == 24 * kept.vision
    assert plain.features == plain.states == 0
    assert plain.activations == 3 * kept.activations  # every beam reads the prompt


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_estimated(family: str) -> None:
    folder = FAMILIES[family]()
    config, processor = read_config(folder), load_processor(folder)
    sizes = model_sizes(config)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    assert sizes.parameters == sum(tensor.numel() for tensor in model.parameters())
    size = prompt_size(processor, config, PromptStyle(), shots=1, question="what color is it", image=(64, 64))
    assert size.images == 2
    assert size.patches >= 2
    found = Workload(sizes, size, "float32", BEAMS, 2).memory()
    assert min(found.weights, found.kv_cache, found.activations, found.logits, found.vision) > 0
