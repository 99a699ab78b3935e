"""A cell is written by its key, by three words, or by train's six, in every command."""

from __future__ import annotations

import pytest

from icd_assets.cli.cell_arguments import DEFAULTS, SELECTOR_INPUT, CellArguments
from icd_assets.cli.cells import split_cells
from icd_assets.errors import UserError

KEY = "demo|RandSampler/tiny_vl"
THREE = ("demo", "rand_sampler", "tiny_vl")
SIX = ("vqa", "demo", "1", SELECTOR_INPUT, "rand_sampler", "tiny_vl")


def test_several_cells_are_told_apart() -> None:
    assert split_cells([KEY, *THREE, *SIX, KEY]) == [(KEY,), THREE, SIX, (KEY,)]
    assert split_cells([]) == []
    assert split_cells([*THREE, "more"], first_only=True) == [THREE]


@pytest.mark.parametrize("words", [["demo"], ["demo", "rand_sampler"], SIX[:4], [KEY, "demo"]])
def test_half_a_cell_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match="is not a partition key, nor three or six words; name one cell"):
        split_cells(words)


def test_train_takes_all_three_and_its_own_defaults() -> None:
    assert CellArguments.of(SIX) == CellArguments(*SIX)
    assert CellArguments.of([]) == CellArguments(*DEFAULTS)
    assert CellArguments.of(["vqa", "demo", "1"]) == CellArguments("vqa", "demo", "1", *DEFAULTS[3:])
    assert CellArguments.of(THREE) == CellArguments(None, "demo", "0", SELECTOR_INPUT, *THREE[1:])
    assert CellArguments.of([KEY]) == CellArguments(None, "demo", "0", SELECTOR_INPUT, "RandSampler", "tiny_vl")


@pytest.mark.parametrize("words", [[*SIX, "more"], [KEY, "demo"], ["a|b"], ["a|b/c/d"]])
def test_train_refuses_what_is_no_cell(words: list[str]) -> None:
    with pytest.raises(UserError):
        CellArguments.of(words)
