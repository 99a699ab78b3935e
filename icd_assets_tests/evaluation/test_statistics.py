"""Intervals against numbers from the literature, at the edges, and by how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from icd_assets.evaluation.report import Interval
from icd_assets.evaluation.statistics import interval, t_quantile


def alone(values: list[float]) -> Interval:
    """Every query has an image of its own."""
    return interval(values, range(len(values)))


# As Newcombe 1998, Statistics in Medicine 17, table I, has them.
@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (15, 148, 0.0624, 0.1605),
        (81, 263, 0.2553, 0.3662),
        (0, 30, 0.0, 0.1135),
    ],
)
def test_right_and_wrong_answers_have_wilsons_interval(right: int, of: int, low: float, high: float) -> None:
    found = alone([1.0] * right + [0.0] * (of - right))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    opposite = alone([0.0] * right + [1.0] * (of - right))
    assert (opposite.low, opposite.high) == pytest.approx((1 - high, 1 - low), abs=1e-4)


@pytest.mark.parametrize("score", [0.0, 0.3, 0.6, 1.0])
def test_equal_scores_are_no_certainty(score: float) -> None:
    found = alone([score] * 30)
    assert found.value == score
    assert 0.05 < found.high - found.low < 0.12
    assert 0 <= found.low <= score <= found.high <= 1


def test_many_graded_scores_have_the_interval_of_theory() -> None:
    values = np.random.default_rng(0).choice([0, 0.3, 0.6, 0.9, 1], size=4000)
    found = alone(values.tolist())
    half = 1.96 * values.std(ddof=1) / np.sqrt(4000)
    assert found.low == pytest.approx(values.mean() - half, abs=0.02 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02 * half)


def test_questions_of_an_image_that_say_the_same_count_once() -> None:
    right = [1.0] * 12 + [0.0] * 28
    once = alone(right)
    five_times = interval(np.repeat(right, 5), np.repeat(np.arange(40), 5))
    assert five_times.value == once.value
    assert five_times.low == pytest.approx(once.low, abs=0.01)
    assert five_times.high == pytest.approx(once.high, abs=0.01)
    as_if_apart = alone(np.repeat(right, 5).tolist())
    assert five_times.high - five_times.low > 2 * (as_if_apart.high - as_if_apart.low)


def test_images_that_are_alike_by_chance_say_nothing() -> None:
    found = interval([1, 0] * 15, np.repeat(np.arange(15), 2))
    assert found.high - found.low > 0.2


def test_order_and_names_of_images_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    values, images = rng.choice([0, 0.6, 1], size=60), rng.integers(12, size=60)
    order = rng.permutation(60)
    assert interval(values, images) == interval(values[order], 1000 - images[order])


def test_one_query_one_image_and_none() -> None:
    assert alone([1.0]).low == pytest.approx(0.2065, abs=1e-4)
    whole = interval([1.0, 0.0, 1.0], [7, 7, 7])
    assert (whole.low, whole.high) == (0, 1)
    with pytest.raises(ValueError, match="no queries"):
        interval([], [])
    for value in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match="outside"):
            alone([0.5, value])


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [
        (1, 12.7062),
        (2, 4.3027),
        (3, 3.1824),
        (29, 2.0452),
        (30, 2.0423),
        (100, 1.9840),
        (101, 1.9837),
        (10**6, 1.96),
    ],
)
def test_students_quantiles(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, abs=5e-5)


@pytest.mark.parametrize("each", [1, 5, 10])
def test_coverage(each: int) -> None:
    """300 questions; an image's share its chance of a right answer (see benchmarks/interval_coverage.py)."""
    rng = np.random.default_rng(each)
    images, held, repeats = 300 // each, [], 1500
    for number in range(repeats):
        mean = (0.1, 0.35, 0.8)[number % 3]
        chance = rng.beta(4 * mean, 4 * (1 - mean), size=(images, 1)) if each > 1 else mean  # correlation .2
        right = (rng.random((images, each)) < chance) * 1.0
        found = interval(right.ravel(), np.repeat(np.arange(images), each))
        held.append(found.low <= mean <= found.high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)  # of which .0056 is a standard deviation
