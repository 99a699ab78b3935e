"""The comparison as data, text and files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from icd_assets.errors import UserError
from icd_assets.evaluation.compare import compare, kinds_of
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.evaluate import Outcome, Prediction
from icd_assets.evaluation.paired import paired
from icd_assets.evaluation.report import Comparison, upstream_metrics, write_metrics
from icd_assets.evaluation.statistics import interval
from icd_assets.evaluation.tables import by_strategy

CONFIG = EvaluationConfig(shot_counts=[1, 2])


def outcome(strategy: str, shots: int, accuracies: list[float], each: int = 1) -> Outcome:
    """``each``: how many questions share an image."""
    return Outcome(
        strategy,
        shots,
        tuple(
            Prediction(
                10 * i,
                i // each,
                strategy,
                shots,
                (i,) * shots,
                ("é",) * shots,
                "raw",
                "answer",
                accuracy,
                i == 0,
                False,
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


def test_intervals_are_of_scores_and_of_paired_differences(comparison):
    chosen, base = np.array(OUTCOMES[4].scores), np.array(OUTCOMES[2].scores)
    (found,) = [
        d for d in comparison.differences if (d.strategy, d.reference, d.shots) == ("selector", "random", 2)
    ]
    assert found.difference == paired(chosen - base, range(4)).interval
    assert comparison.row("selector").score == interval(chosen, range(4))


def test_intervals_are_clustered_by_image():
    """Four questions on two images leave more in doubt than four on four."""
    apart, together = (
        compare([outcome("selector", 2, [1.0, 1.0, 0.0, 0.0] * 5, each)], CONFIG) for each in (1, 2)
    )
    assert (apart.num_images, together.num_images) == (20, 10)
    assert "clustered by 10 images" in together.markdown() and "clustered" not in apart.markdown()
    wide, narrow = (found.row("selector").score for found in (together, apart))
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_cider_is_bounded_by_the_best_caption_seen():
    found = compare(
        [outcome("random", 2, [0.2, 1.4, 0.0, 0.9]), outcome("selector", 2, [0.3, 2.5, 0.1, 0.9])],
        CONFIG,
        ("random",),
        "CIDEr",
    )
    (gain,) = found.differences
    assert found.row("selector").score == interval([0.3, 2.5, 0.1, 0.9], range(4), 2.5)
    assert -1.1 <= gain.difference.low < 0.325 < gain.difference.high <= 1.1


def test_a_file_of_before_is_read(comparison, tmp_path):
    """Its intervals were percentiles; what it does not say is not made up."""
    path = tmp_path / "comparison.json"
    before = comparison.model_dump(mode="json") | {"bootstrap_resamples": 10_000}
    del before["num_images"], before["recommended"]
    path.write_text(json.dumps(before))
    read = Comparison.read(path)
    assert (read.strategies, read.num_images, read.recommended) == (comparison.strategies, None, None)
    assert "percentiles of 10000 resamples" in read.markdown()


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
    assert lines[0].startswith("4 questions, 2 shots; brackets: 95 % intervals")
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
        {"baselines": ["mmr", ["dpp"]]},
        {"baselines": None},
    ):
        with pytest.raises(ValidationError):
            EvaluationConfig(**bad)


def test_a_misspelt_baseline_is_named_with_what_may_be_meant():
    with pytest.raises(ValidationError, match=r"'bm-25' is no baseline \(known: mmr, .*\); did you mean bm25\?"):
        EvaluationConfig(baselines=["mmr", "bm-25"])
    with pytest.raises(ValidationError, match=r"'' is no baseline \(known: mmr, [^?]*$"):
        EvaluationConfig(baselines=[""])
    assert EvaluationConfig(baselines=[]).baselines == []


def test_captions_are_printed_as_the_field_prints_cider():
    text = compare(OUTCOMES, CONFIG, metric="CIDEr").markdown()
    assert text.startswith("4 images, 2 shots;")
    assert "| CIDEr " in text and "accuracy" not in text
    assert "87.50 [" in text


def test_only_the_oracle_may_cover_some_queries_and_is_paired_with_the_same():
    """On the two that it was tried on, random has .15: unpaired, its .3 of all four would be taken."""
    oracle = outcome("best in pool (oracle)", 2, [1.0, 0.0])
    found = compare([*OUTCOMES, oracle], CONFIG)
    row = found.row("best in pool (oracle)")
    assert (row.num_queries, row.score.value, found.num_queries) == (2, 0.5, 4)
    (gain,) = [d for d in found.family if (d.strategy, d.reference) == (row.strategy, "random")]
    assert gain.difference.value == pytest.approx(0.35)
    text = found.markdown()
    assert "| best in pool (oracle) †" in text
    assert "†: on the first 2 alone; its differences are on the same." in text
    assert found.row("random").num_queries is None
    with pytest.raises(ValueError, match="different queries"):
        compare([*OUTCOMES, outcome("best in pool (oracle)", 2, [1.0] * 5)], CONFIG)
    with pytest.raises(ValueError, match="different queries"):
        compare([*OUTCOMES, outcome("best in pool (oracle)", 2, [])], CONFIG)


def test_prices_are_a_column_where_one_is_known(comparison):
    assert "prompts" not in comparison.markdown()
    text = compare(OUTCOMES, CONFIG, prices={"selector": 20_000}).markdown()
    header, _, *lines = text.split("\n\n")[1].splitlines()
    assert "| prompts |" in header
    assert [line for line in lines if "20,000" in line] == [lines[-1]]


def test_scores_by_kind():
    found = compare(OUTCOMES, CONFIG, kinds=["one", "two", "one", "one"])
    rows = {(row.strategy, row.kind): row for row in found.kinds}
    assert {kind for _, kind in rows} == {"one", "two"}
    assert rows["selector", "one"].score == interval([1.0, 1.0, 0.9], range(3))
    assert (rows["selector", "one"].num_queries, rows["selector", "two"].score.value) == (3, 0.6)
    assert "| accuracy % by kind | one (n=3) " in found.markdown()
    with pytest.raises(ValueError, match="2 kinds for 4 queries"):
        compare(OUTCOMES, CONFIG, kinds=["one", "two"])


def test_kinds_are_few_question_types_or_answer_types():
    assert kinds_of(["a", "b", "a"], ["x"] * 3) == ["a", "b", "a"]
    assert kinds_of(["what", *map(str, range(12))], ["yes/no", "", *["number"] * 11])[:2] == ["yes/no", "other"]
    assert kinds_of(["a", "a"], ["x", "x"]) is None
    assert kinds_of([str(n) for n in range(13)], [str(n) for n in range(13)]) is None


def test_one_table_of_several_cells(comparison):
    other = compare([OUTCOMES[0], outcome("additive", 2, [1.0, 1.0, 1.0, 0.0]), OUTCOMES[4]], CONFIG)
    rows = by_strategy({"demo": comparison, "demo_pairs": other})
    assert list(rows) == ["zero-shot", "additive", "random", "selector"]
    assert list(rows["additive"]) == ["demo_pairs"] and list(rows["random"]) == ["demo"]
    assert rows["selector"]["demo"].score == rows["selector"]["demo_pairs"].score


def test_holm_is_over_the_main_table(comparison):
    assert {row.p_holm is None for row in comparison.differences if row.shots == 1} == {True}
    assert len(comparison.family) == 3
    assert all(row.p_holm >= row.p_value for row in comparison.family)
