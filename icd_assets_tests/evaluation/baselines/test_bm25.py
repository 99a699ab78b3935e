"""BM25 against its formula worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest

from icd_assets.evaluation.baselines.bm25 import Corpus, bm25, words
from icd_assets_tests.evaluation.baselines.asking import asked
from icd_assets_tests.worlds.vqa_files import item

QUESTIONS = ["What color is the cat?", "Is the dog red?", "what is it", "The the the"]
LIBRARY = [item(row, question=text) for row, text in enumerate(QUESTIONS)]


def test_scores_by_hand():
    """4 questions of 5, 4, 3 and 3 words, so 3.75 on average; "cat" stands in 1 of them and "the" in 3."""
    found = Corpus(QUESTIONS).scores("the cat", [QUESTIONS[0], QUESTIONS[3], QUESTIONS[2]])

    def part(times: int, having: int, length: int) -> float:
        weight = log(1 + (4 - having + 0.5) / (having + 0.5))
        return weight * times * 2.5 / (times + 1.5 * (0.25 + 0.75 * length / 3.75))

    assert found == pytest.approx([part(1, 1, 5) + part(1, 3, 5), part(3, 3, 3), 0])


def test_a_rare_word_outweighs_common_ones():
    found = bm25(asked([item(9, question="Which CAT is the one?")], {9: [1, 0, 2]}, LIBRARY))
    assert (found.strategy, found.pointers) == ("BM25", {9: (0, 1)})  # the best last


def test_frequencies_are_those_of_the_whole_library():
    """Both words stand in one question of the pool each, but in the library one is rare."""
    library = [item(row, question=text) for row, text in enumerate(["a dog", "a cat", "dog", "dog", "dog"])]
    assert bm25(asked([item(9, question="dog cat")], {9: [0, 1]}, library)).pointers == {9: (0, 1)}


@pytest.mark.parametrize("question", ["", "?!…", "zebra"])
def test_nothing_in_common_leaves_the_pools_order(question):
    asking = [replace(item(9), question=question), item(8, question="dog")]
    assert bm25(asked(asking, {9: [3, 1, 2], 8: [3, 1, 2]}, LIBRARY)).pointers == {9: (1, 0), 8: (0, 1)}


def test_without_any_question_it_is_left_out():
    """As of captions."""
    assert bm25(asked([replace(item(9), question="")], {9: [0, 1]}, LIBRARY)) is None


def test_words_of_any_script():
    assert words("¿Qué Straße, l'été?") == ["qué", "strasse", "l", "été"]
    assert words("猫は赤いCAT2") == ["猫", "は", "赤", "い", "cat2"]
    assert Corpus([]).scores("cat", ["cat"])[0] > 0  # an empty library divides by nothing
