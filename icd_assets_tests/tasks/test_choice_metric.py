"""Which answers choose the right option: the text, or the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icd_assets.tasks.multiple_choice.files import accepted
from icd_assets.tasks.multiple_choice.metric import ChoiceAccuracy, is_right

METRIC = ChoiceAccuracy()
GOLDS = ("popsicle stick", "C")


@pytest.mark.parametrize(
    ("raw", "right"),
    [
        ("popsicle stick", True),
        (" Popsicle  stick.\nA. toothpick", True),
        ("C", True),
        ("c.", True),
        ("(C)", True),
        ("C) popsicle stick", True),
        ("(c): something else", True),  # the letter decides
        ("Answer: C", True),
        ("answer:popsicle stickQuestion:What", True),
        ("B. popsicle stick", False),
        ("B", False),
        ("popsicle", False),
        ("the popsicle stick", False),
        ("C popsicle stick", False),  # "A man" would be A
        ("c.f. popsicle stick", False),
        ("It is C", False),
        ("", False),
        (".", False),
        ("cigarette", False),
    ],
)
def test_the_rule(raw, right):
    assert is_right(METRIC.clean(raw), GOLDS) is right


def test_where_letters_are_ambiguous_the_text_decides():
    golds = accepted(["b", "a"], 0)
    answers = ["b", "B.", "A", "A. b", "A. a", "(x) b"]
    assert METRIC.scores(answers, [golds] * len(answers)) == [1.0, 1.0, 0.0, 1.0, 0.0, 1.0]


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=26), st.data())
def test_every_option_is_right_where_it_is_the_gold_one_and_only_there(choices, data):
    texts = [" ".join(choice.split()) for choice in choices]
    right = data.draw(st.integers(0, len(texts) - 1))
    golds = accepted(texts, right)
    assert is_right(texts[right], golds)
    for letter in golds[1:]:
        assert all(is_right(form.format(letter), golds) for form in ("{}", "{}.", "({})", "{}) x"))
    for text in texts:
        if METRIC.normal(text) != METRIC.normal(golds[0]) and len(METRIC.normal(text)) < 2:
            assert not is_right(text, golds)


def test_labels_are_vqas():
    right, wrong = METRIC.labels(["C", "popsicle"], [GOLDS, GOLDS])
    assert (right["vqa_correct"], right["vqa_acc_score"], wrong["vqa_correct"]) == (1, 1.0, 0)
    assert wrong["vqa_rel_token_f1"] == pytest.approx(2 / 3)  # of the text, not of the letter
    assert METRIC.gold_weights(GOLDS) == {"popsicle stick": 1.0}
