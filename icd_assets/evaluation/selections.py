"""What a strategy chose: for each query an ordered tuple of pool positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ORACLE = "best in pool (oracle)"  # it alone may choose for some of the queries only


@dataclass(frozen=True, slots=True)
class Selection:
    """One strategy at one number of shots.

    ``pointers``: query row → positions in that query's pool, in prompt order. ``labels``, if given: query
    row → the answers shown instead of the demonstrations' own (the shuffled-label control). ``pools``, if given:
    query row → the library rows that the positions count, where they are not those of the query's own pool.
    """

    strategy: str
    shots: int
    pointers: Mapping[int, tuple[int, ...]]
    labels: Mapping[int, tuple[str, ...]] | None = None
    pools: Mapping[int, Sequence[int]] | None = None

    def __post_init__(self) -> None:
        for row, pointer in self.pointers.items():
            if len(pointer) != self.shots or len(set(pointer)) != self.shots:
                raise ValueError(f"{self.strategy}, query {row}: {pointer} are not {self.shots} distinct shots")
        if self.labels is not None:
            for row, answers in self.labels.items():
                if len(answers) != self.shots:
                    raise ValueError(f"{self.strategy}, query {row}: {len(answers)} labels, {self.shots} shots")
