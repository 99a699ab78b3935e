"""Baselines and controls choose what they say, from the query's own pool."""

from __future__ import annotations

import numpy as np
import pytest

from icd_assets.evaluation.selections import Selection
from icd_assets.evaluation.strategies import random_selection, shuffled_labels, similarity_selection, zero_shot
from icd_assets.pools.similarity import SamplerFeatures
from icd_assets_tests.worlds.vqa_files import item

LIBRARY = [item(row, answer=f"answer {row}") for row in range(12)]
POOLS = {0: (5, 2, 9, 7), 1: (1, 3, 5, 11)}


def circle(degrees: list[float]) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


TRAIN = SamplerFeatures(
    text=circle([10 * row for row in range(12)]), image=circle([-5 * row for row in range(12)])
)
QUERY = SamplerFeatures(text=circle([0, 45]), image=circle([-36, 0]))


def similar(kind: str, shots: int):
    return similarity_selection(kind, POOLS, shots, QUERY, TRAIN)


def test_zero_shot_is_empty():
    assert zero_shot([4, 2]) == Selection("zero-shot", 0, {4: (), 2: ()})


def test_random_is_seeded_per_query_and_nested():
    two = random_selection(POOLS, 2, seed=1)
    assert two == random_selection(POOLS, 2, seed=1)
    assert two.pointers[1] == random_selection({1: POOLS[1]}, 2, seed=1).pointers[1]
    assert all(random_selection(POOLS, 3, seed=1).pointers[row][:2] == two.pointers[row] for row in POOLS)
    wide = {row: tuple(range(64)) for row in range(50)}
    assert random_selection(wide, 2, seed=1) != random_selection(wide, 2, seed=2)
    assert len(set(random_selection(wide, 2, seed=1).pointers.values())) > 40


def test_most_similar_stands_last():
    assert similar("text", 3).pointers[0] == (3, 0, 1)  # rows 7, 5, 2: nearest to 0° is row 2
    assert similar("image", 2).pointers[0] == (2, 3)  # rows 9, 7: nearest to −36° is row 7
    assert similar("image", 1).pointers[0] == (3,)
    assert similar("text", 2).strategy == "text similarity"
    assert similar("image+text", 2).strategy == "image+text similarity"


def test_image_and_text_are_added():
    for row, pool in POOLS.items():
        total = TRAIN.text[list(pool)] @ QUERY.text[row] + TRAIN.image[list(pool)] @ QUERY.image[row]
        assert similar("image+text", 4).pointers[row][::-1] == tuple(np.argsort(-total))


def test_ties_go_to_the_earlier_position():
    same = SamplerFeatures(text=circle([0] * 12), image=circle([0] * 12))
    assert similarity_selection("text", POOLS, 3, same, same).pointers[0] == (2, 1, 0)


def test_shuffled_labels_come_from_other_candidates():
    selection = Selection("selector", 2, {0: (1, 0), 1: (3, 2)})
    control = shuffled_labels(selection, POOLS, LIBRARY, seed=3)
    assert control.strategy == "selector, shuffled labels"
    assert control.pointers == selection.pointers
    assert set(control.labels[0]) == {"answer 9", "answer 7"}
    assert set(control.labels[1]) == {"answer 1", "answer 3"}
    assert control == shuffled_labels(selection, POOLS, LIBRARY, seed=3)
    with pytest.raises(ValueError, match="too few other answers"):
        shuffled_labels(Selection("x", 3, {0: (0, 1, 2)}), POOLS, LIBRARY, seed=3)


@pytest.mark.parametrize("pointer", [(1,), (1, 1), (1, 2, 3)])
def test_a_choice_has_distinct_shots(pointer):
    with pytest.raises(ValueError, match="are not 2 distinct shots"):
        Selection("x", 2, {0: pointer})


def test_a_choice_has_a_label_per_shot():
    with pytest.raises(ValueError, match="1 labels, 2 shots"):
        Selection("x", 2, {0: (1, 2)}, {0: ("a",)})


def test_queries_may_be_any_rows():
    """Those of a subset: features follow the pools, not the row numbers."""
    elsewhere = dict(zip((70, 31), POOLS.values(), strict=True))
    found = similarity_selection("image+text", elsewhere, 3, QUERY, TRAIN)
    assert list(found.pointers.values()) == list(similar("image+text", 3).pointers.values())
