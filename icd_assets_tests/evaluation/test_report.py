"""The comparison as data, text and files."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from icd_assets.errors import UserError
from icd_assets.evaluation.compare import compare
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.evaluate import Outcome, Prediction
from icd_assets.evaluation.report import Comparison, upstream_metrics, write_metrics, write_predictions
from icd_assets_tests.evaluation.test_statistics import mean_interval, paired_difference

CONFIG = EvaluationConfig(shot_counts=[1, 2], bootstrap_resamples=200)


def outcome(strategy: str, shots: int, accuracies: list[float]) -> Outcome:
    return Outcome(
        strategy,
        shots,
        tuple(
            Prediction(
                10 * i, strategy, shots, (i,) * shots, ("é",) * shots, "raw", "answer", accuracy, i == 0, False
            )
            for i, accuracy in enumerate(accuracies)
        ),
    )


OUTCOMES = [
    outcome("zero-shot", 0, [0.0, 0.0, 0.3, 0.0]),
    outcome("random", 1, [0.3, 0.0, 0.3, 0.0]),
    outcome("random", 2, [0.3, 0.0, 0.6, 0.3]),
    outcome("selector", 1, [1.0, 0.0, 0.6, 0.3]),
    outcome("selector", 2, [1.0, 0.6, 1.0, 0.9]),
]


@pytest.fixture
def comparison() -> Comparison:
    return compare(OUTCOMES, CONFIG)


def test_numbers(comparison):
    assert comparison.num_queries == 4
    row = comparison.row("selector")
    assert (row.shots, row.score.value, row.copy_rate) == (2, 0.875, 0.25)
    assert row.score.low <= 0.875 <= row.score.high
    assert comparison.row("selector", 1).score.value == 0.475
    assert comparison.row("zero-shot").copy_rate is None
    with pytest.raises(KeyError, match="oracle at 2 shots was not evaluated"):
        comparison.row("oracle")


def test_differences_are_to_evaluated_references_at_the_same_shots(comparison):
    found = {(d.strategy, d.reference, d.shots): d.difference.value for d in comparison.differences}
    assert found == pytest.approx(
        {
            ("random", "zero-shot", 1): 0.075,
            ("random", "zero-shot", 2): 0.225,
            ("selector", "zero-shot", 1): 0.4,
            ("selector", "zero-shot", 2): 0.8,
            ("selector", "random", 1): 0.325,
            ("selector", "random", 2): 0.575,
        }
    )


def test_intervals_are_those_of_the_paired_bootstrap(comparison):
    chosen, base = OUTCOMES[4].scores, OUTCOMES[2].scores
    (found,) = [
        d for d in comparison.differences if (d.strategy, d.reference, d.shots) == ("selector", "random", 2)
    ]
    assert found.difference == paired_difference(chosen, base, 200, CONFIG.seed)
    assert comparison.row("selector").score == mean_interval(chosen, 200, CONFIG.seed)


def test_file_round_trip_and_same_bytes(comparison, tmp_path):
    path = tmp_path / "comparison.json"
    comparison.write(path)
    assert Comparison.read(path) == comparison
    first = path.read_bytes()
    compare(OUTCOMES, CONFIG).write(path)
    assert path.read_bytes() == first
    assert json.loads(first)["strategies"][0]["score"].keys() == {"value", "low", "high"}


@pytest.mark.parametrize(
    ("text", "says"), [("{", "not a comparison"), ('{"num_queries": 3}', "at 'compare_shots'")]
)
def test_foreign_file(tmp_path, text, says):
    path = tmp_path / "comparison.json"
    with pytest.raises(UserError, match="does not exist; materialize evaluation"):
        Comparison.read(path)
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        Comparison.read(path)


def test_markdown(comparison):
    text = comparison.markdown()
    lines = text.splitlines()
    assert lines[0].startswith("4 questions, 2 shots; brackets: 95 % interval, 200 paired bootstrap resamples")
    (selector,) = (line for line in lines if line.startswith("| selector") and "[" in line)
    assert "87.50 [" in selector and "+57.50 [" in selector
    assert lines[-1].split("|")[1:-1] == [cell for cell in lines[-1].split("|")[1:-1] if cell.strip()]
    assert [cell.strip() for cell in lines[-1].split("|")[1:-1]] == ["selector", "–", "47.50", "87.50"]
    assert len({len(line) for line in lines if line.startswith("| zero-shot")}) == 2  # two aligned tables


def test_mismatched_outcomes_are_our_mistake():
    with pytest.raises(ValueError, match="different queries"):
        compare([OUTCOMES[0], outcome("random", 1, [0.3])], CONFIG)
    with pytest.raises(ValueError, match="twice"):
        compare([OUTCOMES[0], OUTCOMES[0]], CONFIG)


def test_upstreams_metrics_form(tmp_path):
    metrics = upstream_metrics(OUTCOMES[::-1], "selector")
    assert list(metrics.items()) == [("shot_num=1", 0.475), ("shot_num=2", 0.875)]
    write_metrics(tmp_path / "m.json", "test_data_num=4-LeverLMRetriever", metrics)
    assert json.loads((tmp_path / "m.json").read_text()) == {
        "test_data_num=4-LeverLMRetriever": {"shot_num=1": 0.475, "shot_num=2": 0.875}
    }


def test_every_prediction_is_kept(tmp_path):
    write_predictions(tmp_path / "p.jsonl", OUTCOMES)
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 20
    assert json.loads(lines[-1]) == {
        "question_id": 30,
        "strategy": "selector",
        "shots": 2,
        "pointer_rows": [3, 3],
        "demo_answers": ["é", "é"],
        "raw": "raw",
        "answer": "answer",
        "score": 0.9,
        "copied": False,
        "gold_shown": False,
    }


def test_config():
    config = EvaluationConfig(shot_counts=[4, 1], compare_shots=2, num_queries=-1)
    assert config.all_shots == [1, 2, 4]
    assert config.query_count(214_354) == 214_354
    assert EvaluationConfig(num_queries=800).query_count(200) == 200
    assert EvaluationConfig(num_queries=100).query_count(200) == 100
    for bad in (
        {"shot_counts": []},
        {"num_queries": -2},
        {"shots": [1]},
        {"compare_shots": 0},
        {"shot_counts": [0]},
    ):
        with pytest.raises(ValidationError):
            EvaluationConfig(**bad)


def test_captions_are_printed_as_the_field_prints_cider():
    text = compare(OUTCOMES, CONFIG, metric="CIDEr").markdown()
    assert text.startswith("4 images, 2 shots;")
    assert "| CIDEr " in text and "accuracy" not in text
    assert "87.50 [" in text
