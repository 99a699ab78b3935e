"""All labels of a training as a few tensors, made once, so that an update indexes instead of looping over queries.

Legend: `Q` queries, `K` pool, `C` columns (a query's sequences), `L` longest sequence, `D` embedding, `M` rows.
A column has one length for all queries, and columns go from long to short: sequences are rolled out together, and
those that have ended are cut off. A query with fewer sequences is padded, and ``real`` is False there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.selector.config import SelectorTraining
from icd_assets.selector.groups import DenseGroup, RewardGroup


@dataclass(frozen=True, slots=True, eq=False)
class TrainingLabels:
    """What a selector is trained on and validated with. Groups of one query share its pool.

    held_out: the query rows that validate; None: the last by row, a share of ``val_fraction``. A query may have
    pointers of several numbers of shots, in a group each.
    """

    embeddings: Tensor  # [n, D], one per row of the train split
    dense: Sequence[DenseGroup] = ()
    pointers: Sequence[RewardGroup] = ()
    beams: Sequence[RewardGroup] = ()
    held_out: Collection[int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Sequences of Q queries with what is known of each: labels of all K candidates after it, or its reward."""

    lengths: tuple[int, ...]  # [C] descending
    sequences: Tensor  # [Q, C, L] long; any position after a sequence's end
    real: Tensor  # [Q, C] bool
    values: Tensor  # [Q, C, K] labels, or [Q, C] rewards
    asked: Tensor  # like values, bool; all True where padded

    def at(self, index: Tensor) -> Columns:
        """Those of the queries ``index``."""
        return replace(
            self,
            sequences=self.sequences[index],
            real=self.real[index],
            values=self.values[index],
            asked=self.asked[index],
        )

    def to(self, device: torch.device) -> Columns:
        return replace(
            self,
            sequences=self.sequences.to(device),
            real=self.real.to(device),
            values=self.values.to(device),
            asked=self.asked.to(device),
        )

    def spans(self) -> list[tuple[int, slice]]:
        """(length, its columns), from long to short."""
        return [
            (length, slice(self.lengths.index(length), self.lengths.index(length) + self.lengths.count(length)))
            for length in dict.fromkeys(self.lengths)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class LabelTensors:
    """Q queries; a kind of label that none of them has is None."""

    embeddings: Tensor  # [M, D] of the rows in use
    queries: Tensor  # [Q] rows of it
    pools: Tensor  # [Q, K] rows of it
    dense: Columns | None
    pointers: Columns | None
    beams: Columns | None

    def __len__(self) -> int:
        return len(self.queries)


def label_tensors(
    labels: TrainingLabels, config: SelectorTraining, device: torch.device
) -> tuple[LabelTensors, LabelTensors]:
    """(train, validation), without labels of weight 0."""
    dense = [kept for group in labels.dense if (kept := _weighted(group, config))]
    pointers = [group for group in labels.pointers if config.shot_weight(group.pointers.size(1)) > 0]
    beams = list(labels.beams) if config.beam_weight > 0 else []
    every: list[DenseGroup | RewardGroup] = [*dense, *pointers, *beams]
    rows = sorted({group.query_row for group in every})
    train, validation = _split(rows, labels.held_out, config.val_fraction)
    sizes = {len(group.pool) for group in every}
    if len(sizes) > 1:
        raise UserError(f"the labels are of pools of {sorted(sizes)} candidates; train on pools of one size.")

    def of(part: Collection[int]) -> LabelTensors:
        return _tensors(
            labels.embeddings,
            [group for group in dense if group.query_row in part],
            [group for group in pointers if group.query_row in part],
            [group for group in beams if group.query_row in part],
            device,
        )

    return of(train), of(validation)


def _weighted(group: DenseGroup, config: SelectorTraining) -> DenseGroup | None:
    kept = [i for i, prefix in enumerate(group.prefixes) if config.step_weight(len(prefix)) > 0]
    if len(kept) == len(group.prefixes):
        return group
    if not kept:
        return None
    prefixes = tuple(group.prefixes[i] for i in kept)
    return replace(group, prefixes=prefixes, values=group.values[kept], asked=group.asked[kept])


def _split(rows: Sequence[int], held_out: Collection[int] | None, fraction: float) -> tuple[set[int], set[int]]:
    if held_out is None:
        cut = int((1 - fraction) * len(rows))  # as split_by_query
        held_out = rows[cut:]
    validation = set(rows) & set(held_out)
    train = set(rows) - validation
    if not train or not validation:
        raise UserError(
            f"of {len(rows)} queries with labels {len(train)} are to train and {len(validation)} to validate; "
            "label more queries, or give labels a weight above 0."
        )
    return train, validation


def _tensors(
    embeddings: Tensor,
    dense: Sequence[DenseGroup],
    pointers: Sequence[RewardGroup],
    beams: Sequence[RewardGroup],
    device: torch.device,
) -> LabelTensors:
    pools: dict[int, tuple[int, ...]] = {}
    every: list[DenseGroup | RewardGroup] = [*dense, *pointers, *beams]
    for group in every:
        if pools.setdefault(group.query_row, group.pool) != group.pool:
            raise ValueError(f"query {group.query_row}: its labels are of different pools")
    order = {row: place for place, row in enumerate(sorted(pools))}
    rows = torch.tensor([[row, *pools[row]] for row in order])  # [Q, 1 + K]
    used, places = torch.unique(rows, return_inverse=True)
    places = places.to(device)
    return LabelTensors(
        embeddings=embeddings[used].to(device),
        queries=places[:, 0],
        pools=places[:, 1:],
        dense=_dense_columns(dense, order, rows.size(1) - 1, device),
        pointers=_pointer_columns(pointers, order, device),
        beams=_pointer_columns(beams, order, device),
    )


def _dense_columns(
    groups: Sequence[DenseGroup], order: Mapping[int, int], pool: int, device: torch.device
) -> Columns | None:
    found = (
        (order[group.query_row], prefix, values, asked)
        for group in groups
        for prefix, values, asked in zip(group.prefixes, group.values, group.asked, strict=True)
    )
    return _columns(found, len(order), (pool,), device)


def _pointer_columns(
    groups: Sequence[RewardGroup], order: Mapping[int, int], device: torch.device
) -> Columns | None:
    known = torch.tensor(True)
    found = (
        (order[group.query_row], tuple(pointer), reward, known)
        for group in groups
        for pointer, reward in zip(group.pointers.tolist(), group.rewards, strict=True)
    )
    return _columns(found, len(order), (), device)


def _columns(
    found: Iterable[tuple[int, tuple[int, ...], Tensor, Tensor]],
    queries: int,
    each: tuple[int, ...],
    device: torch.device,
) -> Columns | None:
    """found: (query's place, sequence, values, asked); ``each``: the shape of its values."""
    by_length: dict[int, dict[int, list[tuple[tuple[int, ...], Tensor, Tensor]]]] = {}
    for place, sequence, values, asked in found:
        by_length.setdefault(len(sequence), {}).setdefault(place, []).append((sequence, values, asked))
    if not by_length:
        return None
    width = {length: max(map(len, by_length[length].values())) for length in sorted(by_length, reverse=True)}
    lengths = tuple(length for length, count in width.items() for _ in range(count))
    columns = Columns(
        lengths=lengths,
        # Padding points at 0 … L−1: valid positions, never a repeated pick.
        sequences=torch.arange(lengths[0]).repeat(queries, len(lengths), 1),
        real=torch.zeros(queries, len(lengths), dtype=torch.bool),
        values=torch.zeros(queries, len(lengths), *each),
        asked=torch.ones(queries, len(lengths), *each, dtype=torch.bool),
    )
    for length, of_queries in by_length.items():
        first = lengths.index(length)
        for place, own in of_queries.items():
            for column, (sequence, values, asked) in enumerate(own, first):
                columns.sequences[place, column, :length] = torch.tensor(sequence, dtype=torch.long)
                columns.real[place, column] = True
                columns.values[place, column] = values
                columns.asked[place, column] = asked
    return columns.to(device)
