"""Every place where a case strikes is there: a function that is renamed must not make a night's torture void."""

from __future__ import annotations

import importlib
from functools import reduce

import pytest

from icd_assets_tests.torture.cases import ALL

PLACES = sorted(
    {
        case["fault"][field]
        for case in ALL
        for field in ("place", "again_at")
        if ":" in str(case.get("fault", {}).get(field, ""))
    }
)


@pytest.mark.parametrize("place", PLACES)
def test_it_is_there(place: str) -> None:
    module, _, name = place.partition(":")
    assert callable(reduce(getattr, name.split("."), importlib.import_module(module)))


def test_there_are_such_places() -> None:
    assert len(PLACES) > 15
