"""Several seeds of one cell: their mean question by question, their spread beside it, and files that are none."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from icd_assets.errors import UserError
from icd_assets.evaluation.compare import compare
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.paired import paired
from icd_assets.evaluation.seeds import SeedComparison, over_seeds
from icd_assets.evaluation.statistics import interval
from icd_assets_tests.evaluation.test_predictions import written_predictions
from icd_assets_tests.evaluation.test_report import outcome

CONFIG = EvaluationConfig(shot_counts=[2])
N, EACH = 60, 2  # questions, and how many share an image


def drawn(seed: int, share: float) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).random(N) < share]


def written(folder: Path, seed: int, n: int = N, better: str = "GRPO") -> tuple[Path, Path]:
    """One seed's evaluation, as the asset leaves it."""
    folder.mkdir(exist_ok=True)
    outcomes = [
        outcome("random", 2, drawn(seed, 0.3)[:n], EACH),
        outcome(better, 2, drawn(seed + 99, 0.7)[:n], EACH),
    ]
    comparison, predictions = folder / f"{seed}.json", folder / f"{seed}.parquet"
    compare(outcomes, CONFIG, ("random",), recommended=[better], prices={better: 500}).write(comparison)
    written_predictions(predictions, outcomes)
    return comparison, predictions


@pytest.fixture
def over(tmp_path: Path) -> SeedComparison:
    return over_seeds({seed: written(tmp_path, seed) for seed in (42, 43, 44)})


def test_the_interval_is_over_questions_of_the_mean_over_seeds(over: SeedComparison) -> None:
    base = np.mean([drawn(seed, 0.3) for seed in (42, 43, 44)], axis=0)
    chosen = np.mean([drawn(seed + 99, 0.7) for seed in (42, 43, 44)], axis=0)
    images = [at // EACH for at in range(N)]
    (row,) = over.average.family
    assert row.difference == paired(chosen - base, images).interval
    assert row.p_holm == paired(chosen - base, images).p_value
    assert over.average.row("GRPO").score == interval(chosen, images)
    assert (over.average.num_images, over.average.row("GRPO").prompts) == (N // EACH, 500)


def test_the_spread_of_the_seeds_stands_beside_it(over: SeedComparison) -> None:
    own = [statistics.fmean(drawn(seed + 99, 0.7)) for seed in (42, 43, 44)]
    assert over.scores("GRPO") == pytest.approx(own, abs=1e-6)
    gains = [a - statistics.fmean(drawn(seed, 0.3)) for a, seed in zip(own, (42, 43, 44), strict=True)]
    assert over.gains(over.average.family[0]) == pytest.approx(gains, abs=1e-6)
    text = over.markdown()
    assert "| seed 42 | seed 43 | seed 44 | sd" in text
    assert f"{100 * statistics.stdev(own):.2f}" in text and f"{100 * statistics.stdev(gains):.2f}" in text
    assert text.startswith("3 seeds, 60 questions, 2 shots; 95 % intervals, clustered by 30 images")


def test_seeds_that_differ_make_no_interval_narrower_than_questions_do(tmp_path: Path) -> None:
    """The same answers under every seed are no more questions than under one."""
    one = over_seeds({42: written(tmp_path, 42)})
    same = over_seeds({seed: written(tmp_path, 42) for seed in (42, 43, 44)})
    assert same.average.family[0].difference == one.average.family[0].difference
    assert "| –" in one.markdown()  # no standard deviation of one


def test_as_json(over: SeedComparison) -> None:
    found = json.loads(json.dumps(over.as_json()))
    assert found["seeds"] == [42, 43, 44]
    assert found["scores"]["GRPO"] == over.scores("GRPO")
    assert found["differences"][0]["by_seed"] == over.gains(over.average.family[0])
    assert found["average"]["num_queries"] == N


@pytest.mark.parametrize(
    ("n", "better", "says"), [(58, "GRPO", "other questions"), (N, "RCE", "another selector")]
)
def test_seeds_that_do_not_fit_each_other(tmp_path: Path, n: int, better: str, says: str) -> None:
    with pytest.raises(UserError, match=f"evaluation of seed 43 has {says} than that of seed 42; run"):
        over_seeds({42: written(tmp_path, 42), 43: written(tmp_path, 43, n, better)})


def test_a_strategy_that_one_seed_lacks(tmp_path: Path) -> None:
    comparison, predictions = written(tmp_path, 43)
    table = pq.read_table(predictions)
    pq.write_table(table.filter(pc.field("strategy") != "random"), predictions)
    with pytest.raises(UserError, match="seed 43 has other strategies"):
        over_seeds({42: written(tmp_path, 42), 43: (comparison, predictions)})
