"""Prompts, scores and rates of an evaluation, end to end with a model that copies."""

from __future__ import annotations

import pytest

from icd_assets.errors import UserError
from icd_assets.evaluation.evaluate import evaluate
from icd_assets.evaluation.selections import Selection
from icd_assets.evaluation.strategies import shuffled_labels, zero_shot
from icd_assets.tasks.vqa.metric import VqaAccuracy
from icd_assets.vlm.prompts import Prompt
from icd_assets_tests.worlds.copying_backend import CopyingBackend
from icd_assets_tests.worlds.vqa_files import item

LIBRARY = [item(row, answer=answer) for row, answer in enumerate(["cat", "dog", "bird", "the cat", "fish"])]
QUERIES = [item(0, image_id=70, answer="Cat"), item(1, image_id=71, answer="cow")]
POOLS = {0: (4, 3, 2, 1), 1: (0, 1, 2, 3)}
SELECTOR = Selection("selector", 2, {0: (3, 1), 1: (1, 2)})


def test_scores_and_rates():
    backend = CopyingBackend(alone="cow")
    chosen, none = evaluate([SELECTOR, zero_shot([0, 1])], QUERIES, POOLS, LIBRARY, backend, VqaAccuracy())
    assert backend.asked[0] == Prompt.of(QUERIES[0], [LIBRARY[1], LIBRARY[3]])
    first, second = chosen.predictions
    assert (first.pointer_rows, first.demo_answers) == ((1, 3), ("dog", "the cat"))
    assert (first.raw, first.answer, first.score) == ("the cat, or so", "the cat", 1.0)
    assert (first.copied, first.gold_shown) == (True, True)  # compared as the metric compares
    assert (second.answer, second.score, second.copied, second.gold_shown) == ("bird", 0.0, True, False)
    assert (chosen.scores, chosen.copy_rate, chosen.gold_shown_rate) == ([1.0, 0.0], 1.0, 0.5)
    assert (none.scores, none.copy_rate, none.gold_shown_rate) == ([0.0, 1.0], None, None)
    assert none.predictions[0].question_id == QUERIES[0].question_id


def test_equal_prompts_are_asked_once():
    backend = CopyingBackend()
    same = Selection("oracle", 2, SELECTOR.pointers)
    swapped = Selection("swapped", 2, {0: (1, 3), 1: (1, 2)})
    outcomes = evaluate([SELECTOR, same, swapped], QUERIES, POOLS, LIBRARY, backend, VqaAccuracy())
    assert len(backend.asked) == 3
    assert outcomes[0].scores == outcomes[1].scores
    assert outcomes[2].predictions[0].answer == "dog"  # order matters


def test_shuffled_labels_are_what_the_model_sees():
    backend = CopyingBackend()
    control = shuffled_labels(SELECTOR, POOLS, LIBRARY, seed=0)
    (outcome,) = evaluate([control], QUERIES, POOLS, LIBRARY, backend, VqaAccuracy())
    assert [p.demo_answers for p in outcome.predictions] == [control.labels[0], control.labels[1]]
    assert [shot.answer for shot in backend.asked[0].shots] == list(control.labels[0])
    assert backend.asked[0].shots[0].question == LIBRARY[1].question
    assert outcome.copy_rate == 1.0


def test_nothing_to_evaluate():
    with pytest.raises(UserError, match="no validation queries"):
        evaluate([SELECTOR], [], POOLS, LIBRARY, CopyingBackend(), VqaAccuracy())
