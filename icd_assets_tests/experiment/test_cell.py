"""The spelling of a partition key."""

from __future__ import annotations

import pytest

from icd_assets.experiment.cell import Cell


def test_round_trip() -> None:
    cell = Cell("okvqa", "RandSampler", "Qwen2_5-VL-3B-Instruct")
    assert cell.key == "okvqa|RandSampler/Qwen2_5-VL-3B-Instruct"
    assert Cell.parse(cell.key) == cell


@pytest.mark.parametrize("key", ["", "okvqa", "a|b", "a/b", "a|b/c/d", "a|b|c/d"])
def test_foreign_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not a partition key"):
        Cell.parse(key)
