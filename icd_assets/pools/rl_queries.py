"""Queries for RL of their own: a supervised selector has learned its own queries by heart, and shows RL nothing
to win there.

Validation queries are seen by nobody: none is an anchor. Queries to train come from the other rows that are no
anchors as long as there are any, then from the anchors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from icd_assets.errors import UserError
from icd_assets.runtime.seeding import python_rng

Role = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class RlQueries:
    """Rows of the train split, in the order drawn."""

    train: tuple[int, ...]
    validation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RlPools:
    """The same with the pool of each."""

    train: Mapping[int, tuple[int, ...]]
    validation: Mapping[int, tuple[int, ...]]

    @property
    def pools(self) -> dict[int, tuple[int, ...]]:
        return {**self.train, **self.validation}

    @property
    def roles(self) -> dict[int, Role]:
        roles: dict[int, Role] = dict.fromkeys(self.train, "train")
        return roles | dict.fromkeys(self.validation, "validation")


def rows_for(answers: int, pointers: int) -> int:
    """How many queries a budget of VLM answers pays for, at ``pointers`` each."""
    if answers < pointers:
        raise UserError(f"{answers} answers do not pay for one query of {pointers} pointers; allow more answers.")
    return answers // pointers


def paid_for(
    pools: Mapping[int, tuple[int, ...]], roles: Mapping[int, Role] | None, queries: int
) -> dict[int, tuple[int, ...]]:
    """The first so many of ``pools``; where queries have roles the first of each, in proportion, at least one."""
    if roles is None or queries >= len(pools):
        return dict([*pools.items()][:queries])
    if queries < 2:
        raise UserError("the answers pay for one query alone, and none is left to validate with; allow more.")
    of_role = {role: [row for row in pools if roles[row] == role] for role in ("train", "validation")}
    validating = round(queries * len(of_role["validation"]) / len(pools))
    validating = min(max(validating, 1), queries - 1)
    kept = {*of_role["validation"][:validating], *of_role["train"][: queries - validating]}
    return {row: pool for row, pool in pools.items() if row in kept}


def draw_rl_queries(
    n_rows: int,
    anchors: Collection[int],
    *,
    rows: int | None,
    validation_rows: int,
    seed: int,
    with_anchors: bool = True,
) -> RlQueries:
    """``rows`` queries to train and ``validation_rows`` to validate, of a train split of ``n_rows``.

    ``rows`` None: all there are. A larger ``rows`` keeps the queries of a smaller one. Where fewer are left than
    asked for, all of those are taken; without anchors, at most half of what is left validates. Raises
    :class:`UserError` where nothing is left to validate, or to train.
    """
    if validation_rows < 1 or (rows is not None and rows < 1):
        raise UserError(f"{rows} queries to train RL and {validation_rows} to validate; take at least 1 of each.")
    seen = set(anchors)
    unseen = _shuffled([row for row in range(n_rows) if row not in seen], seed, "unseen")
    offered = _shuffled(sorted(seen), seed, "anchors") if with_anchors else []
    if len(unseen) < (1 if offered else 2):
        raise UserError(
            f"of the {n_rows} rows of the train split {len(unseen)} "
            f"{'is no anchor' if len(unseen) == 1 else 'are no anchors'}, too few to validate RL on what no "
            "selector saw; lower sample_num, or let RL data be of the anchors."
        )
    validating = min(validation_rows, len(unseen) if offered else len(unseen) // 2)
    return RlQueries(tuple([*unseen[validating:], *offered][:rows]), tuple(unseen[:validating]))


def _shuffled(rows: Sequence[int], seed: int, what: str) -> list[int]:
    return python_rng(seed, "rl_queries", what).sample(rows, len(rows))
