"""Who knows the rule of the demo world takes what tells the answer."""

from __future__ import annotations

from icd_assets.demo.dataset import PAIRS_TRAIN, PAIRS_VALIDATION, TRAIN, VALIDATION, rows
from icd_assets.demo.rule import two_that_tell


def test_one_word_is_shown_by_the_last_of_two() -> None:
    library, queries = rows(TRAIN), rows(VALIDATION)[:50]
    pool = range(64)
    for query in queries:
        first, last = two_that_tell(query, pool, library)
        assert first != last
        key = "color" if query.wording.kind == "color" else "shape"
        telling = [
            row
            for row in pool
            if library[row].wording.kind == query.wording.kind
            and getattr(library[row].scene, key) == getattr(query.scene, key)
        ]
        assert not telling or last in telling


def test_two_words_are_shown_by_two_or_by_one_of_both() -> None:
    library, queries = rows(PAIRS_TRAIN), rows(PAIRS_VALIDATION)[:50]
    both_shown = 0
    for query in queries:
        chosen = [library[row] for row in two_that_tell(query, range(64), library)]
        alike = [one for one in chosen if one.wording.kind == query.wording.kind]
        shapes = any(one.scene.shape == query.scene.shape for one in alike)
        both_shown += shapes and any(one.scene.color == query.scene.color for one in alike)
    assert both_shown >= 40  # a pool lacks one of them now and then
