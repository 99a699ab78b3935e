"""Variables of Lever-Plus' scripts that mean nothing here are named, not passed over."""

from __future__ import annotations

import pytest

from icd_assets.experiment.misspelt import known_variables, misspelt
from icd_assets.experiment.upstream_variables import NOT_READ, not_read


@pytest.mark.parametrize("name", NOT_READ)
def test_each_is_named_once_and_not_taken_for_a_slip(name: str) -> None:
    (sentence,) = misspelt({name: "5"})
    assert sentence == next(not_read({name: "5"}))
    assert sentence.startswith(f"{name} is a variable of Lever-Plus' that is not read here: ")


def test_what_is_read_is_not_among_them() -> None:
    assert not NOT_READ.keys() & known_variables({})
    assert list(not_read({"TEST_DATA_NUM": "5", "TEST_SAMPLE_NUM": ""})) == []
