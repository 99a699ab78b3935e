"""How items become batches: a bound of rows, a budget of tokens, and what is left of it after a full memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icd_assets.errors import UserError
from icd_assets.vlm.batches import Batches

widths = st.lists(st.integers(1, 40), max_size=30).map(sorted)


def padded(widths: Sequence[int]) -> int:
    return len(widths) * max(widths)


def ran(
    batches: Batches, *alike: Sequence[int], compute: Callable[[Sequence[int]], list[int]] = list
) -> list[list[int]]:
    found = []
    for batch, results in batches.run(alike, compute, padded):
        assert results == list(batch)
        found.append(results)
    return found


@given(first=widths, second=widths, rows=st.integers(1, 12) | st.just(math.inf), tokens=st.integers(0, 200))
def test_a_batch_is_as_large_as_the_budget_allows(
    first: list[int], second: list[int], rows: float, tokens: int
) -> None:
    for items in (first, second):
        found = ran(Batches(rows, tokens, small=False), items)
        assert [width for batch in found for width in batch] == items
        assert all(len(batch) == 1 or (len(batch) <= rows and padded(batch) <= tokens) for batch in found)
        for batch, behind in pairwise(found):
            assert len(batch) == rows or padded([*batch, behind[0]]) > tokens
    both = ran(Batches(rows, tokens, small=False), first, second)
    assert both == [
        *ran(Batches(rows, tokens, small=False), first),
        *ran(Batches(rows, tokens, small=False), second),
    ]


@given(items=widths, rows=st.integers(1, 12), small=st.booleans())
def test_rows_alone_count_without_a_budget_and_of_a_small_model(items: list[int], rows: int, small: bool) -> None:
    expected = [items[start : start + rows] for start in range(0, len(items), rows)]
    assert ran(Batches(rows, 1 if small else math.inf, small=small), items) == expected


@given(items=widths, room=st.integers(40, 200))
def test_a_full_memory_halves_the_tokens_for_good(items: list[int], room: int) -> None:
    """Of a GPU that holds ``room`` tokens, one row always."""
    batches = Batches(math.inf, small=False)
    tried: list[int] = []
    failed: list[int] = []

    def compute(batch: Sequence[int]) -> list[int]:
        tried.append(padded(batch))
        if padded(batch) > room:
            failed.append(padded(batch))
            raise torch.OutOfMemoryError
        return list(batch)

    found = ran(batches, items, compute=compute)
    assert [width for batch in found for width in batch] == items
    assert batches.tokens == (failed[-1] // 2 if failed else math.inf)
    assert all(after <= before // 2 for before, after in pairwise(failed))
    if failed:
        last = tried.index(failed[-1])
        assert all(one <= max(failed[-1] // 2, max(items)) for one in tried[last + 1 :])


def test_one_row_that_does_not_fit_is_an_error() -> None:
    def compute(batch: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError

    with pytest.raises(UserError, match="one prompt, 30 tokens with its beams; lower the model's max_pixels"):
        ran(Batches(8, small=False), [30], compute=compute)
