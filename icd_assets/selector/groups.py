"""A query's pointers with their rewards, its step labels, and batches of groups.

Legend: `B` queries, `N` pointers, `P` prefixes, `S` shots, `K` pool, `D` embedding.
Groups of one batch share K and S; groups with fewer pointers are padded and masked, so that BATCH_SIZE is obeyed
(upstream silently runs with 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from icd_assets.errors import UserError
from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.neighbors import taken


@dataclass(frozen=True, slots=True, eq=False)
class PointerGroup:
    """One query. SFT reads ``rewards`` as beam scores."""

    query_row: int
    query: Tensor  # [D]
    table: Tensor  # [n, D] embeddings, which all queries share
    pool: Tensor  # [K] long, rows of the table: K vectors for each query would be gigabytes at real size
    pointers: Tensor  # [N, S] long, positions in the pool
    rewards: Tensor  # [N] raw
    behavior_logprobs: Tensor | None = None  # [N] under the policy that proposed the pointers
    held_out: bool | None = None  # whether the query is to validate; None: left to the split

    def __post_init__(self) -> None:
        count, shots = self.pointers.shape
        if (
            self.table.shape[1:] != self.query.shape
            or self.pool.dim() != 1
            or self.rewards.shape != (count,)
            or count == 0
        ):
            raise ValueError(f"query {self.query_row}: shapes of query, pool, pointers and rewards do not fit")
        if self.pointers.min() < 0 or self.pointers.max() >= self.pool.size(0):
            raise ValueError(f"query {self.query_row}: a pointer lies outside its pool of {self.pool.size(0)}")
        ordered = self.pointers.sort(dim=1).values
        if shots > 1 and (ordered[:, 1:] == ordered[:, :-1]).any():
            raise ValueError(f"query {self.query_row}: a pointer names a candidate twice")
        if not torch.isfinite(self.rewards).all():
            raise ValueError(f"query {self.query_row}: a reward is not a finite number")

    @property
    def constant(self) -> bool:
        """Whether all pointers earned the same, so that none is preferable."""
        return bool((self.rewards == self.rewards[0]).all())


@dataclass(frozen=True, slots=True, eq=False)
class DenseGroup:
    """One query's step labels: after each prefix, a label for every candidate that was asked about.

    Embeddings are named by row, not copied: K of them per query would be gigabytes at real size.
    """

    query_row: int
    pool: tuple[int, ...]  # [K] rows of the train split
    prefixes: tuple[tuple[int, ...], ...]  # P of any lengths: positions in the pool, in the order picked
    values: Tensor  # [P, K] from 0 upward, 0 where not asked
    asked: Tensor  # [P, K] bool

    @classmethod
    def of(
        cls,
        query_row: int,
        pool: Sequence[int],
        steps: Iterable[tuple[Sequence[int], Sequence[float | None]]],
    ) -> DenseGroup:
        """From (prefix, K labels) of each step; None: not asked."""
        found = list(steps)
        values = torch.tensor([[0.0 if v is None else v for v in labels] for _, labels in found])
        asked = torch.tensor([[v is not None for v in labels] for _, labels in found])
        return cls(query_row, tuple(pool), tuple(tuple(prefix) for prefix, _ in found), values, asked)

    def __post_init__(self) -> None:
        shape = (len(self.prefixes), len(self.pool))
        if self.values.shape != shape or self.asked.shape != shape or 0 in shape:
            raise ValueError(f"query {self.query_row}: shapes of pool, prefixes and labels do not fit")
        for prefix, asked in zip(self.prefixes, self.asked, strict=True):
            if len(set(prefix)) < len(prefix) or not all(0 <= place < len(self.pool) for place in prefix):
                raise ValueError(f"query {self.query_row}: {prefix} are not different positions in its pool")
            if not asked.any() or asked[list(prefix)].any():
                raise ValueError(f"query {self.query_row}: after {prefix} nothing, or a pick again, was asked")
        if not torch.isfinite(self.values).all() or (self.values < 0).any():
            raise ValueError(f"query {self.query_row}: a label is not a finite number from 0 upward")


@dataclass(frozen=True, slots=True, eq=False)
class RewardGroup:
    """One query's pointers of one length with their rewards (of beams: their scores), embeddings named by row."""

    query_row: int
    pool: tuple[int, ...]  # [K] rows of the train split
    pointers: Tensor  # [N, S] long, positions in the pool
    rewards: Tensor  # [N]

    def __post_init__(self) -> None:
        pool = torch.arange(len(self.pool))  # the checks of the other kind are ours
        PointerGroup(self.query_row, torch.zeros(0), torch.zeros(len(pool), 0), pool, self.pointers, self.rewards)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Several groups; ``mask`` is False where N is padding."""

    index: tuple[int, ...]  # [B] positions in the list of groups that the batch was cut from
    query: Tensor  # [B, D]
    pool: Tensor  # [B, K, D]; empty where it is not looked at
    pointers: Tensor  # [B, N, S]
    rewards: Tensor  # [B, N]
    mask: Tensor  # [B, N] bool

    def to(self, device: torch.device) -> Batch:
        if device.type == "cpu":
            return self
        names = ("query", "pool", "pointers", "rewards", "mask")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def collate(groups: Sequence[PointerGroup], index: Sequence[int], *, with_pool: bool = True) -> Batch:
    """The batch of ``groups[i] for i in index``, which must share K and S; ``with_pool``: their vectors too."""
    chosen = [groups[i] for i in index]
    counts = torch.tensor([len(group.rewards) for group in chosen])
    longest, shots = int(counts.max()), chosen[0].pointers.size(1)
    # Padding points at 0 … S−1: valid positions, masked everywhere, never a repeated pick.
    padding = torch.arange(shots).expand(longest, -1)
    pointers = [torch.cat((group.pointers, padding[len(group.rewards) :])) for group in chosen]
    return Batch(
        index=tuple(index),
        query=torch.stack([group.query for group in chosen]),
        pool=vectors(chosen) if with_pool else torch.zeros(len(chosen), 0, 0),
        pointers=torch.stack(pointers),
        rewards=pad_sequence([group.rewards for group in chosen], batch_first=True),
        mask=torch.arange(longest) < counts.unsqueeze(1),
    )


def vectors(groups: Sequence[PointerGroup]) -> Tensor:
    """The pools [B, K, D] of groups that share K."""
    table = groups[0].table
    if any(group.table is not table for group in groups):
        return torch.stack([group.table[group.pool] for group in groups])
    return taken(table, torch.stack([group.pool for group in groups]))


def ordered_batches(groups: Sequence[PointerGroup], batch_size: int) -> list[list[int]]:
    """All groups in order, cut into batches of equal (K, S)."""
    return _cut(groups, range(len(groups)), batch_size)


def shuffled_batches(
    groups: Sequence[PointerGroup], batch_size: int, seed: int, *names: str | int
) -> list[list[int]]:
    """All groups in an order drawn from (seed, names), cut into batches of equal (K, S); their number is fixed."""
    rng = torch_rng(seed, "shuffle", *names)
    batches = _cut(groups, torch.randperm(len(groups), generator=rng).tolist(), batch_size)
    return [batches[i] for i in torch.randperm(len(batches), generator=rng).tolist()]


def _cut(groups: Sequence[PointerGroup], order: Sequence[int], batch_size: int) -> list[list[int]]:
    alike: dict[tuple[int, int], list[int]] = {}
    for i in order:
        alike.setdefault((groups[i].pool.size(0), groups[i].pointers.size(1)), []).append(i)
    return [
        same[start : start + batch_size] for same in alike.values() for start in range(0, len(same), batch_size)
    ]


def split_by_query(
    groups: Sequence[PointerGroup], fraction: float
) -> tuple[list[PointerGroup], list[PointerGroup]]:
    """(train, validation): ids ascending, the first ⌊fraction·n⌋ to train (SPEC E.4, I), or as the groups say."""
    ordered = sorted(groups, key=lambda group: group.query_row)
    if any(group.held_out is not None for group in ordered):
        return _as_they_say(ordered)
    cut = int(fraction * len(ordered))
    if not 0 < cut < len(ordered):
        raise UserError(
            f"{len(ordered)} usable queries cannot be split {fraction:g} to train and the rest to validate; "
            "provide more queries."
        )
    return ordered[:cut], ordered[cut:]


def _as_they_say(ordered: Sequence[PointerGroup]) -> tuple[list[PointerGroup], list[PointerGroup]]:
    train = [group for group in ordered if not group.held_out]
    validation = [group for group in ordered if group.held_out]
    if not train or not validation:
        raise UserError(
            f"of {len(ordered)} usable queries {len(train)} are to train and {len(validation)} to validate, "
            "by their 'role' in the RL data; provide some of each."
        )
    return train, validation
