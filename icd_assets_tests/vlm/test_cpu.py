from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from icd_assets.vlm import cpu


def blas(few: int):  # type: ignore[no-untyped-def]
    """Products of at most ``few`` rows have other bits."""

    def linear(values, weights, added=None):  # type: ignore[no-untyped-def]
        return torch.full((len(values), len(weights)), float(len(values) <= few))

    return linear


@pytest.fixture(autouse=True)
def forget() -> None:
    cpu._least_of.cache_clear()


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 8, bias=False))


@pytest.mark.parametrize(("few", "least"), [(0, 1), (1, 2), (7, 8), (10, 11), (16, 20), (30, 32), (50, 64)])
def test_the_least_rows_are_above_all_that_give_other_bits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, few: int, least: int
) -> None:
    monkeypatch.setattr(cpu.nn.functional, "linear", blas(few))
    with caplog.at_level(logging.WARNING):
        assert cpu.least_rows(model(), one_thread=True) == least
    assert ("depend on its batch" in caplog.text) == (least == 64)


def test_each_shape_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(values, weights, added=None):  # type: ignore[no-untyped-def]
        return blas(12 if values.shape[1] == 48 else 3)(values, weights, added)

    monkeypatch.setattr(cpu.nn.functional, "linear", deep)
    assert cpu.least_rows(model(), one_thread=True) == 13


def test_threads_and_the_generator_stay_as_they_are() -> None:
    tried = model()
    before = torch.get_num_threads(), torch.get_rng_state()
    assert cpu.least_rows(tried, one_thread=True) in range(1, 33)
    assert before[0] == torch.get_num_threads()
    assert torch.equal(before[1], torch.get_rng_state())
    assert cpu.least_rows(nn.ReLU(), one_thread=False) == 1
