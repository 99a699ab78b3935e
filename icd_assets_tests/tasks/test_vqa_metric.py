"""The metric against SPEC P.8, against the official loop, and as a property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icd_assets.evaluation.report import overall_accuracy
from icd_assets.tasks.vqa.metric import (
    CONTRACTIONS,
    VqaAccuracy,
    normalize,
    postprocess,
    vqa_accuracy,
)


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The red-hat", "red hat"),
        ("yes, no", "yes no"),
        ("two dogs", "2 dogs"),
        ("dont", "don't"),
        ("none", "0"),
        ("it's a dog.", "it's dog"),
        ("50%", "50%"),
        ("red-hat", "red hat"),
        ("red -hat", "red hat"),
        ("1,000", "1000"),
        ("1,000 red-hats", "1000 redhats"),
        ("U.S.A.", "usa"),
        ("3.5", "3.5"),
        ("8:30", "8:30"),
        ("a\nb\tc", "b c"),
        ("  An  Apple ", "apple"),
        ("what?who", "what who"),
        ("." * 33, "."),
        ("ten zero", "10 0"),
        ("", ""),
    ],
)
def test_normalization(answer, normal):
    assert normalize(answer) == normal


@pytest.mark.parametrize("mark", list(';/[]"{}()=+\\_-><@`,?!'))
def test_each_mark_joins_words_with_a_blank_or_vanishes(mark):
    assert normalize(f"x{mark}y") == "x y"
    assert normalize(f"x{mark}y z{mark} w") == "xy z w"


def test_kept_marks():
    assert normalize("y'x %:&*#$^|~") == "y'x %:&*#$^|~"


@pytest.mark.parametrize(
    ("word", "full"),
    [
        ("aint", "ain't"),
        ("twas", "'twas"),
        ("oclock", "o'clock"),
        ("maam", "ma'am"),
        ("hed've", "he'd've"),
        ("he'dve", "he'd've"),
        ("couldntve", "couldntve"),
        ("hedve", "hedve"),
        ("somebody'd", "somebodyd"),
        ("somebodyd've", "somebody'd've"),
        ("'ow'sat", "'ow's'at"),
        ("y'alld've", "y'all'd've"),
        ("im", "im"),  # the table's key is capitalized and never matches
        ("IVE", "ive"),
        ("let's", "let's"),
        ("lets", "lets"),
    ],
)
def test_contractions(word, full):
    assert normalize(word) == full


def test_the_table_is_complete():
    assert len(CONTRACTIONS) == 120
    assert sum("'" not in key for key in CONTRACTIONS) == 75
    assert len([key for key in CONTRACTIONS if key != key.lower()]) == 4  # Im Ive Id've I'dve


@pytest.mark.parametrize(("matches", "score"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (5, 1), (10, 1)])
def test_ten_annotators(matches, score):
    answers = ["dog"] * matches + [f"other{i}" for i in range(10 - matches)]
    assert vqa_accuracy("Dog.", answers) == score


def official(prediction: str, answers: list[str]) -> float:
    """SPEC H, word for word: leave each annotator out."""
    found = [normalize(answer) for answer in answers]
    scores = [
        min(1.0, sum(other == normalize(prediction) for i, other in enumerate(found) if i != j) / 3)
        for j in range(len(found))
    ]
    return round(100 * sum(scores) / len(scores), 2) / 100


words = st.sampled_from(["dog", "a dog", "cat", "two", "2", "dont", ""])


@pytest.mark.parametrize(
    ("answers", "score"),
    [
        (["dog"], 1.0),
        (["cat"], 0.0),
        (["dog", "dog"], 1.0),
        (["dog", "cat"], 0.5),
        (["dog", "dog", "dog"], 1.0),
        (["dog", "dog", "cat"], 0.6667),
        (["dog", "cat", "cow"], 0.3333),
    ],
)
def test_of_few_annotators_all_others_must_agree(answers: list[str], score: float) -> None:
    assert vqa_accuracy("Dog.", answers) == pytest.approx(score, abs=1e-4)
    assert VqaAccuracy().gold_weights(["dog"]) == {"dog": 1.0}


@given(words, st.lists(words, min_size=4, max_size=12))
def test_closed_form_equals_the_official_loop(prediction, answers):
    assert vqa_accuracy(prediction, answers) == pytest.approx(official(prediction, answers), abs=1e-9)


@given(words, st.lists(words, min_size=1, max_size=12), st.randoms())
def test_order_of_annotators_does_not_matter(prediction, answers, rng):
    shuffled = rng.sample(answers, len(answers))
    assert vqa_accuracy(prediction, answers) == vqa_accuracy(prediction, shuffled)


@given(words, st.lists(words, min_size=3, max_size=12))
def test_one_more_agreement_never_hurts(prediction, answers):
    better = [prediction, *answers[1:]]
    assert vqa_accuracy(prediction, better) >= vqa_accuracy(prediction, answers)


@given(st.text(max_size=40))
def test_any_text_normalizes_to_single_blanks(text):
    normal = normalize(text)
    assert normal == " ".join(normal.split())
    assert not set(normal) & set(';/[]"{}()=+\\_-><@`?!,')


def test_no_answers_is_our_mistake():
    with pytest.raises(ValueError, match="without answers"):
        vqa_accuracy("dog", [])
    with pytest.raises(ValueError, match="no accuracies"):
        overall_accuracy([])


def test_overall_is_percent_with_two_decimals():
    assert overall_accuracy([1.0, 0.6, 0.0]) == 0.5333


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        ("dog, cat", "dog"),
        ("Answer: x", ""),
        ("dog\nQuestion:..", "dog\n"),
        ("a Short", "a "),
        ("short board", "short board"),
        ("1,000", "1,000"),
        ("dog,\ncat", "dog,\ncat"),
        ("unAnswered", "un"),
        ("", ""),
    ],
)
def test_postprocess(raw, answer):
    assert postprocess(raw) == answer


def todays_official_score(answer: str, golds: list[str]) -> float:
    """GT-Vision-Lab/VQA's rule, confirmed in its issue #14: nothing is normalized where all annotators agree."""
    if len(set(golds)) > 1:
        answer, golds = normalize(answer), [normalize(gold) for gold in golds]
    matches = [
        sum(gold == answer for at, gold in enumerate(golds) if at != left_out) for left_out in range(len(golds))
    ]
    return sum(min(1, found / 3) for found in matches) / len(golds)


@pytest.mark.parametrize("answer", ["Yes.", "yes!", "The yes", "YES"])
def test_the_official_script_is_stricter_where_all_annotators_agree(answer):
    unanimous, divided = ["yes"] * 10, ["yes"] * 9 + ["no"]
    assert (vqa_accuracy(answer, unanimous), todays_official_score(answer, unanimous)) == (1.0, 0.0)
    assert vqa_accuracy(answer, divided) == todays_official_score(answer, divided) == 1.0
    assert vqa_accuracy("yes", unanimous) == todays_official_score("yes", unanimous) == 1.0
