"""Prompts that begin alike are computed once, and everything asked about a prompt branches from its state.

The answer that the model writes, all its beams, and the likelihoods of all gold answers take one pass over the
prompt together, and prompts with the same first demonstrations one pass over those
(:mod:`icd_assets.vlm.prefix_states`). Where ``exact``, as for a small model on a CPU, a prompt's numbers are the
same bits whatever it is asked with: rows share a batch only if they are padded to the same width, which each row's
own length determines, and a batch is filled up with copies of its last row until no product has so few rows that
BLAS takes another kernel for it (:func:`icd_assets.vlm.cpu.least_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import torch
from torch import Tensor

from icd_assets.vlm.backend import Reply
from icd_assets.vlm.batches import Batches
from icd_assets.vlm.cached_inputs import CachedInputs
from icd_assets.vlm.cpu import least_rows
from icd_assets.vlm.decoding import LEAST_ROWS, Decoder, likelihood
from icd_assets.vlm.inputs import Asked
from icd_assets.vlm.prefix_states import Beginning, Piece, PrefixStates, State, state_of

# As many batches' prompts are at work at once, so that those that begin alike meet; of a small model, prompts.
BATCHES_AT_ONCE = 4
_OF_A_SMALL_MODEL = 1024

Item = TypeVar("Item")
Replies = Mapping[int, Reply]
Width = tuple[int, int]  # of what is kept, of what is fed


@dataclass(frozen=True, slots=True)
class _Leaf:
    """The end of a prompt, with an answer or without, and the positions in the caller's list that it serves."""

    chain: tuple[Beginning, ...]
    piece: Piece
    requests: list[int]


class BranchingPath:
    """Answers rows that :class:`CachedInputs` made; ``state_bytes`` bounds what is kept of shared beginnings."""

    def __init__(
        self,
        model: Any,
        inputs: CachedInputs,
        decoder: Decoder,
        batches: Batches,
        *,
        exact: bool,
        state_bytes: int,
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._decoder = decoder
        self._batches = batches
        self._states = PrefixStates(state_bytes)
        self._exact = exact
        self._tail = LEAST_ROWS if exact else 1
        self._least = least_rows(model, one_thread=batches.small) if exact else 1

    def run(self, asked: Sequence[Asked]) -> Iterator[Replies]:
        """Batch by batch the answers, by their position in ``asked``."""
        leaves = _side_by_side(self._leaves(asked))
        while leaves:
            at_work = self._at_once(leaves)
            leaves = leaves[len(at_work) :]
            yield from self._branched(at_work, asked)

    def _at_once(self, leaves: Sequence[_Leaf]) -> Sequence[_Leaf]:
        """The first of ``leaves``, as many as states may be kept of."""
        if self._batches.small:
            return leaves[:_OF_A_SMALL_MODEL]
        return self._batches.fitting(
            leaves, lambda some: sum(len(leaf.piece.whole.ids) for leaf in some), BATCHES_AT_ONCE
        )

    def _leaves(self, asked: Sequence[Asked]) -> list[_Leaf]:
        leaves: dict[tuple[bool, Piece], _Leaf] = {}
        for at, one in enumerate(asked):
            row, fed = one.row, one.row.ids if one.target is None else one.row.ids[:-1]
            known = len(row.ids) - (0 if one.target is None else len(one.target))
            last_image = row.spans[-1][1] if row.spans else 0
            chain = tuple(self._inputs.beginnings(row, max(last_image, known - self._tail)))
            piece = Piece(chain[-1], Beginning(fed, self._inputs.keys(row), row.spans))
            leaves.setdefault((one.target is None, piece), _Leaf(chain, piece, [])).requests.append(at)
        return list(leaves.values())

    def _branched(self, leaves: Sequence[_Leaf], asked: Sequence[Asked]) -> Iterator[Replies]:
        states = self._states.of([leaf.chain for leaf in leaves], self._computed)

        def generated(batch: Sequence[_Leaf]) -> list[Replies]:
            return self._generated(batch, states)

        def scored(batch: Sequence[_Leaf]) -> list[Replies]:
            targets = [[asked[at].target or () for at in leaf.requests] for leaf in batch]
            return self._scored(batch, states, targets)

        answered = [leaf for leaf in leaves if asked[leaf.requests[0]].target is None]
        valued = [leaf for leaf in leaves if asked[leaf.requests[0]].target is not None]
        # A row that generates must end where the batch does.
        ends = self._alike(answered, lambda leaf: leaf.piece, to_the_end=True)
        last = self._alike(valued, lambda leaf: leaf.piece)
        for groups, compute, generates in ((ends, generated, True), (last, scored, False)):
            tokens = partial(self._tokens_of_leaves, generates=generates)
            for _, answers in self._batches.run(groups, compute, tokens):
                yield {at: answer for own in answers for at, answer in own.items()}

    def _computed(
        self, pieces: Sequence[Piece], states: Mapping[Beginning, State]
    ) -> Iterator[tuple[Piece, Tensor]]:
        def compute(batch: Sequence[Piece]) -> list[Tensor]:
            filled = self._filled(batch, self._inputs.width(len(batch[0].ids)))
            inputs = self._inputs.fed(filled, states)
            cache = self._model(**inputs, logits_to_keep=1).past_key_values
            fed = inputs["input_ids"].shape[1]
            return state_of(cache, cache.get_seq_length() - fed, [len(piece.ids) for piece in batch])

        groups = self._alike(pieces, lambda piece: piece)
        for batch, computed in self._batches.run(groups, compute, self._tokens):
            yield from zip(batch, computed, strict=True)

    def _generated(self, batch: Sequence[_Leaf], states: Mapping[Beginning, State]) -> list[Replies]:
        pieces = self._filled([leaf.piece for leaf in batch], self._decoder.beams)
        inputs = self._inputs.branched(pieces, states, self._decoder.beams)
        texts = self._decoder.generated(self._model, inputs)
        return [dict.fromkeys(leaf.requests, text) for leaf, text in zip(batch, texts[: len(batch)], strict=True)]

    def _scored(
        self,
        batch: Sequence[_Leaf],
        states: Mapping[Beginning, State],
        targets: Sequence[Sequence[tuple[int, ...]]],
    ) -> list[Replies]:
        pieces = [leaf.piece for leaf in batch]
        fewest = min(self._tail, self._inputs.width(len(pieces[0].ids)))  # rows of the logits, of the layers
        inputs = self._inputs.fed(self._filled(pieces, fewest), states)
        # The token at position p is predicted at p − 1: a row's n targets at [length − n, length).
        lengths = [len(leaf.piece.ids) for leaf in batch]
        first = min(length - len(own[0]) for length, own in zip(lengths, targets, strict=True))
        fed = inputs["input_ids"].shape[1]
        first = min(first, fed - self._tail)
        kept = torch.arange(first, fed, device=self._model.device)
        logits: Tensor = self._model(**inputs, logits_to_keep=kept).logits  # [B, P, V]
        return [
            {at: likelihood(rows, length - first, target) for at, target in zip(leaf.requests, own, strict=True)}
            for leaf, length, rows, own in zip(batch, lengths, logits[: len(batch)], targets, strict=True)
        ]

    def _tokens_of_leaves(self, leaves: Sequence[_Leaf], *, generates: bool) -> int:
        pieces = [leaf.piece for leaf in leaves]
        if not generates:
            return self._tokens(pieces)
        return self._decoder.beams * (self._tokens(pieces) + len(pieces) * self._decoder.new_tokens)

    def _tokens(self, pieces: Sequence[Piece]) -> int:
        """That a batch of pieces has, what is kept and what is fed, both padded."""
        width = self._inputs.width
        kept, fed = (
            max(map(width, lengths))
            for lengths in zip(*((piece.start, len(piece.ids)) for piece in pieces), strict=True)
        )
        return len(pieces) * (kept + fed)

    def _filled(self, pieces: Sequence[Piece], rows: int) -> list[Piece]:
        """Pieces whose products have ``rows`` rows each or more; the copies are left out of what is answered."""
        return [*pieces, *[pieces[-1]] * (-(-self._least // rows) - len(pieces))]

    def _alike(
        self, items: Sequence[Item], piece_of: Callable[[Item], Piece], *, to_the_end: bool = False
    ) -> list[list[Item]]:
        """Items that may share a batch; ``to_the_end``: whose last tokens stand in one column."""

        def widths(item: Item) -> Width:
            piece = piece_of(item)
            fed = len(piece.ids)
            return self._inputs.width(piece.start), fed if to_the_end else self._inputs.width(fed)

        def apart(width: Width) -> object:
            return width if self._exact else width[1] if to_the_end else None

        ordered = sorted(((widths(item), item) for item in items), key=lambda one: one[0][::-1])
        return [[item for _, item in group] for _, group in groupby(ordered, key=lambda one: apart(one[0]))]


def _side_by_side(leaves: Sequence[_Leaf]) -> list[_Leaf]:
    """In the order in which their beginnings first come: those that share one stand together."""
    order: dict[Beginning, int] = {}
    for leaf in leaves:
        for beginning in leaf.chain:
            order.setdefault(beginning, len(order))
    return sorted(leaves, key=lambda leaf: [order[beginning] for beginning in leaf.chain])
