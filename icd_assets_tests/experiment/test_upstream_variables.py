"""Variables of Lever-Plus' scripts that mean nothing here are named, not passed over."""

from __future__ import annotations

import pytest

from icd_assets.experiment.misspelt_variables import known_variables, misspelt
from icd_assets.experiment.upstream_variables import WITHOUT_EFFECT, without_effect


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_each_is_named_once_and_not_taken_for_a_slip(name: str) -> None:
    (sentence,) = misspelt({name: "5"})
    assert sentence == next(without_effect({name: "5"}))
    assert sentence.startswith(f"{name} is a variable of Lever-Plus' that has no effect here: ")


def test_what_is_read_is_not_among_them() -> None:
    assert not WITHOUT_EFFECT.keys() & known_variables({})
    assert list(without_effect({"TEST_DATA_NUM": "5", "TEST_SAMPLE_NUM": ""})) == []
