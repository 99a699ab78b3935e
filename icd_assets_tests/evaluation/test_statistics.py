"""Intervals are right, paired and repeatable."""

from __future__ import annotations

import numpy as np
import pytest

from icd_assets.evaluation import statistics
from icd_assets.evaluation.report import Interval
from icd_assets.evaluation.statistics import interval, resampled_means


def mean_interval(values: list[float], resamples: int, seed: int) -> Interval:
    drawn = resampled_means([values], resamples, seed)[:, 0]
    return interval(float(np.mean(values)), drawn)


def paired_difference(values: list[float], reference: list[float], resamples: int, seed: int) -> Interval:
    """As the comparison does it: both series under the same resamples."""
    drawn = resampled_means([values, reference], resamples, seed)
    return interval(float(np.mean(values) - np.mean(reference)), drawn[:, 0] - drawn[:, 1])


def test_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(0.4, 0.3, size=1000)
    found = mean_interval(values.tolist(), 4000, seed=1)
    half = 1.96 * values.std(ddof=1) / np.sqrt(1000)
    assert found.value == pytest.approx(values.mean(), abs=1e-6)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_seed_decides_everything():
    values = [0.0, 0.3, 0.6, 1.0] * 20
    assert mean_interval(values, 500, seed=1) == mean_interval(values, 500, seed=1)
    assert mean_interval(values, 500, seed=1) != mean_interval(values, 500, seed=2)


def test_blocks_do_not_change_the_resamples(monkeypatch):
    series = np.random.default_rng(0).random((3, 50))
    whole = resampled_means(series, 200, seed=4)
    monkeypatch.setattr(statistics, "_BLOCK", 50 * 7)
    assert np.allclose(resampled_means(series, 200, seed=4), whole, atol=1e-15)
    assert whole.shape == (200, 3)


def test_difference_is_paired():
    rng = np.random.default_rng(0)
    base = rng.choice([0.0, 1.0], size=300)
    better = np.clip(base + (rng.random(300) < 0.05), 0, 1)
    found = paired_difference(better.tolist(), base.tolist(), 2000, seed=1)
    assert found.low >= 0.0
    assert found.high - found.low < 0.06  # two independent means would give 0.16
    assert paired_difference([0.5] * 9, [0.5] * 9, 100, seed=1).high == 0.0


def test_one_query_and_none():
    assert mean_interval([0.6], 100, seed=0).low == 0.6
    with pytest.raises(ValueError, match="no queries"):
        mean_interval([], 100, seed=0)
