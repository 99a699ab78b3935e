"""Relevance of wrong answers (SPEC G.6)."""

from __future__ import annotations

import pytest

from icd_assets.scoring.relevance import edit_similarity, relevance, token_f1


@pytest.mark.parametrize(
    ("prediction", "gold", "f1"),
    [
        ("red dog", "dog", 2 / 3),
        ("Red, DOG!", "dog red", 1.0),
        ("dog dog", "dog", 2 / 3),
        ("cat", "dog", 0.0),
        ("!!", "!!", 0.0),
    ],
)
def test_token_f1(prediction, gold, f1):
    assert token_f1(prediction, gold) == pytest.approx(f1)


def test_edit_similarity_ignores_case_and_outer_blanks():
    assert edit_similarity(" Tennis ", "tennis") == 1.0
    assert edit_similarity("tenis", "tennis") == pytest.approx(10 / 11)


def test_each_measure_takes_its_best_gold():
    found = relevance("red dog", ["dog house", "red dot", "red dot"])
    assert found.token_f1 == 0.5
    assert found.edit_similarity == pytest.approx(12 / 14)
    assert found.score == found.edit_similarity
    assert relevance("tenis", ["x", "tennis"]).score == pytest.approx(10 / 11)


@pytest.mark.parametrize("prediction", ["", "  "])
def test_an_empty_answer_is_not_relevant(prediction):
    assert relevance(prediction, ["", "dog"]).score == 0.0
