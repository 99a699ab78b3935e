"""How many tokens a GPU takes at once: by hand for a model of real size, asked from a GPU that is not there."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

from icd_assets.vlm import token_budget
from icd_assets.vlm.memory import GIB, ModelSizes
from icd_assets.vlm.token_budget import token_bytes, tokens_at_once
from icd_assets_tests.worlds.tiny import tiny_vl

GPU = torch.device("cuda:1")
QWEN_3B = ModelSizes(3_754_622_976, 36, 2, 128, 2048, 11_008, 151_936, 5120, branches=True)


@pytest.fixture(scope="module")
def on_cpu() -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(tiny_vl())


@pytest.fixture
def model(on_cpu: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As if it were on a GPU, in bfloat16."""
    monkeypatch.setattr(type(on_cpu), "device", GPU)
    monkeypatch.setattr(type(on_cpu), "dtype", torch.bfloat16)
    return on_cpu


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[torch.device, int]:
    """What each GPU has left; asked of no other device."""
    left: dict[torch.device, int] = {}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (left[device], 80 * GIB))
    return left


def test_a_token_of_qwen_3b_by_hand() -> None:
    cache = 2 * 36 * 2 * 128 * 2
    activations = (2 * 2048 + 3 * 11_008) * 2 + 4096 * 3
    assert token_bytes(QWEN_3B, 2) == 7 * cache + activations + 151_936 * 14 // 256 == 352_885


def test_free_memory_decides(model: Any, free: dict[torch.device, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_budget, "sizes_of", lambda _: QWEN_3B)
    # One GiB is kept for features and two for demonstrations here, and a tenth of the rest is of no use.
    free[GPU] = 71 * GIB
    tokens = tokens_at_once(model, 2 * GIB)
    assert tokens == 131_072 <= 0.9 * 68 * GIB / 352_885 < 2 * tokens
    free[GPU] = 15 * GIB
    assert tokens_at_once(model, 2 * GIB) == 32_768
    for little in (3 * GIB + 200_000, 3 * GIB, 0):
        free[GPU] = little
        assert tokens_at_once(model, 2 * GIB) == 0  # one row at a time, and an error where that does not fit


def test_a_few_more_free_bytes_change_nothing(model: Any, free: dict[torch.device, int]) -> None:
    free[GPU] = 40 * GIB
    tokens = tokens_at_once(model, GIB)
    assert tokens
    assert tokens.bit_count() == 1
    free[GPU] += 100 << 20
    assert tokens_at_once(model, GIB) == tokens


def test_a_cpu_has_no_budget(on_cpu: Any, free: dict[torch.device, int]) -> None:
    assert tokens_at_once(on_cpu, GIB) is None  # and no GPU was asked


def test_a_family_of_unknown_sizes_is_named(
    model: Any, free: dict[torch.device, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free[GPU] = 40 * GIB
    monkeypatch.delattr(type(model.config.get_text_config()), "num_attention_heads", raising=False)
    monkeypatch.delattr(model.config.get_text_config(), "num_attention_heads")
    with caplog.at_level(logging.WARNING):
        assert tokens_at_once(model, GIB) is None
    assert "8 prompts are computed at once" in caplog.text
    assert "qwen2_5_vl" in caplog.text


def test_wider_numbers_and_more_layers_take_more() -> None:
    each = token_bytes(QWEN_3B, 2)
    assert token_bytes(QWEN_3B, 4) > 1.9 * each
    assert token_bytes(replace(QWEN_3B, layers=72), 2) > 1.6 * each
