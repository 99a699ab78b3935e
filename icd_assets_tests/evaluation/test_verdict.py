"""A comparison in sentences."""

from __future__ import annotations

import pytest

from icd_assets.evaluation.compare import compare
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.report import Comparison
from icd_assets.evaluation.verdict import footnotes, verdict, warnings
from icd_assets_tests.evaluation.test_report import outcome

REFERENCES = ("random", "image+text similarity", "v2 (SFT)")


def compared(n: int, metric: str = "accuracy", **share_right: float) -> Comparison:
    """GRPO and its references on ``n`` questions, each strategy right on the first ones."""
    names = {"random": "random", "similarity": "image+text similarity", "sft": "v2 (SFT)", "grpo": "GRPO"}
    outcomes = [
        outcome(names[name], 2, [1.0] * round(n * share) + [0.0] * (n - round(n * share)))
        for name, share in share_right.items()
    ]
    return compare(outcomes, EvaluationConfig(), REFERENCES, metric, ["GRPO"])


def test_better_worse_and_not_to_be_told() -> None:
    better, worse, unknown, shown = verdict(compared(300, random=0.1, similarity=0.9, sft=0.51, grpo=0.5))
    assert better.startswith("GRPO is better than random by 40.0 points (34.")
    assert worse.startswith("GRPO is worse than image+text similarity by 40.0 points (34.")
    low, high = worse.partition("(")[2].rstrip(").").split(" to ")
    assert float(low) < 40 < float(high)
    assert unknown.startswith("GRPO against v2 (SFT) (-")
    assert unknown.endswith(
        "points, 3 answers changed: exact sign test): no difference can be told from 300 questions."
    )
    assert shown.startswith("300 questions show in four of five cases a difference of ")
    assert shown.count(" points against ") == 3


def test_several_references_are_listed() -> None:
    better, _ = verdict(compared(300, random=0.1, similarity=0.2, sft=0.3, grpo=0.9))
    assert [better.count(word) for word in ("than ", ", ", " and ")] == [3, 1, 1]


def test_nothing_is_ever_right() -> None:
    found = compared(30, random=0, similarity=0, sft=0, grpo=0)
    (warning,) = warnings(found)
    assert "no strategy gave a right answer to any of 30 questions" in warning
    assert "up to 11.4 %" in warning
    assert verdict(found)[-1] == warning
    assert warning in found.markdown()


@pytest.mark.parametrize(("n", "warned"), [(20, True), (60, False)])
def test_too_few_questions(n: int, warned: bool) -> None:
    found = warnings(compared(n, random=0.5, similarity=0.55, grpo=0.6))
    assert bool(found) == warned
    if warned:
        assert "20 questions are too few to tell anything" in found[0]
        assert "TEST_DATA_NUM" in found[0]


def test_one_image_for_all_questions() -> None:
    outcomes = [outcome("random", 2, [0.0, 1.0] * 9, 18), outcome("GRPO", 2, [1.0, 1.0] * 9, 18)]
    found = compare(outcomes, EvaluationConfig(), REFERENCES, recommended=["GRPO"])
    assert warnings(found) == ["Warning: all 18 questions are on one image, which tells nothing of others."]


def test_a_difference_that_few_questions_do_show_needs_no_warning() -> None:
    assert warnings(compared(20, random=0.1, grpo=0.9)) == []


def test_no_recommended_strategy_no_verdict() -> None:
    found = compared(30, random=0.1, similarity=0.2, grpo=0.9).model_copy(update={"recommended": None})
    assert verdict(found) == []


def test_captions_without_score_are_no_wrong_answers() -> None:
    assert warnings(compared(300, "CIDEr", random=0, grpo=0)) == []


@pytest.mark.parametrize(("changed", "better"), [(6, False), (10, True)])
def test_the_sign_test_decides_where_few_answers_changed(changed: int, better: bool) -> None:
    """Six of six leave a doubt of .03, which is too much where four differences are looked at; ten leave .002."""
    base, chosen = [0.0] * 300, [1.0] * changed + [0.0] * (300 - changed)
    outcomes = [outcome("random", 2, base), outcome("v2 (SFT)", 2, base), outcome("GRPO", 2, chosen)]
    found = compare(outcomes, EvaluationConfig(), ("random", "v2 (SFT)"), recommended=["GRPO"])
    rows = [row for row in found.family if row.strategy == "GRPO"]
    assert len(found.family) == 4
    assert all(row.difference.low > 0 for row in rows)
    assert [row.sign for row in rows] == [int(better)] * 2
    said = " ".join(verdict(found))
    assert f"{changed} answers changed: exact sign test" in said
    assert ("GRPO is better than random" in said) == better
    assert ("Holm's correction" in said) != better
    assert bool(footnotes(found)) == better


def test_a_comparison_of_before_is_judged_by_its_intervals() -> None:
    found = compared(300, random=0.1, similarity=0.9, sft=0.51, grpo=0.5)
    old = {"changed": None, "p_value": None, "p_holm": None, "detectable": None}
    rows = tuple(row.model_copy(update=old) for row in found.differences)
    better, worse, unknown = verdict(found.model_copy(update={"differences": rows}))
    assert "is better than random" in better and "is worse than image" in worse and "v2 (SFT)" in unknown
    assert "sign test" not in unknown
    assert footnotes(found.model_copy(update={"differences": rows})) == []
