"""Which rows a set of pools names; pools map a query's row to the rows of its candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def candidate_rows(pools: Mapping[int, Sequence[int]]) -> list[int]:
    """Every row that some pool offers, ascending."""
    return sorted({row for pool in pools.values() for row in pool})


def all_rows(pools: Mapping[int, Sequence[int]]) -> list[int]:
    """The queries and their candidates, ascending; for pools whose queries are of the candidates' split."""
    return sorted({*pools, *candidate_rows(pools)})
