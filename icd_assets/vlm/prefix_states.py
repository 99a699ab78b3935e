"""What a model keeps of the beginnings of prompts, so that prompts which begin alike are computed once.

A prompt is fed in pieces: up to its second image, from there to its third, and so on; then up to its last few
tokens; then those, once per answer that is asked about. What the decoder keeps of a piece (its key-value state,
as in vLLM's automatic prefix caching, Kwon et al. 2023) depends on nothing behind it. Therefore all prompts that
share a first demonstration share its piece, beams and gold answers of a prompt branch from one pass over it, and
where the pieces end is decided by the prompt alone: its numbers do not depend on which prompts it is asked with.

Legend: N layers, B rows, H heads of keys, D their width, W tokens kept, S tokens fed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from icd_assets.vlm.image_features import Key
from icd_assets.vlm.lru import ByteLru


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a prompt begins with: tokens as the model reads them, the images whose tokens are among them, and where
    those of each image stand, which follows from both."""

    ids: tuple[int, ...]
    images: tuple[Key, ...]
    spans: tuple[tuple[int, int], ...] = field(compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.ids, self.images)))

    def __hash__(self) -> int:
        """Made once: each is looked up dozens of times, and is hundreds of tokens long."""
        return self._hash


@dataclass(frozen=True, slots=True)
class Piece:
    """``whole`` less what it begins with, which is known."""

    before: Beginning | None
    whole: Beginning

    @property
    def start(self) -> int:
        return len(self.before.ids) if self.before else 0

    @property
    def ids(self) -> tuple[int, ...]:
        return self.whole.ids[self.start :]

    @property
    def images(self) -> tuple[Key, ...]:
        return self.whole.images[len(self.before.images) if self.before else 0 :]


@dataclass(frozen=True, slots=True)
class State:
    """Keys and values of a piece, and the state that it continues."""

    before: State | None
    own: Tensor  # [N, 2, H, T, D]

    def write(self, target: Tensor) -> None:
        """Into the end of ``target`` [N, 2, H, W, D]."""
        end = target.shape[3]
        state: State | None = self
        while state is not None:
            length = state.own.shape[3]
            target[:, :, :, end - length : end] = state.own
            end, state = end - length, state.before


class PrefixStates:
    """The states of beginnings; of those that several prompts may share, the last used up to ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._shared: ByteLru[Beginning, State] = ByteLru(limit, lambda state: state.own.nbytes)

    def of(
        self,
        chains: Iterable[Sequence[Beginning]],
        compute: Callable[[Sequence[Piece], Mapping[Beginning, State]], Iterable[tuple[Piece, Tensor]]],
    ) -> dict[Beginning, State]:
        """The state of every beginning of ``chains``, each from the shortest to the longest.

        ``compute`` gives [N, 2, H, T, D] of each piece, given the states of what is before them.
        """
        states: dict[Beginning, State] = {}
        for level in _levels(chains):
            missing = []
            for piece, shared in level.items():
                if shared and (found := self._shared.find(piece.whole)):
                    states[piece.whole] = found
                else:
                    missing.append(piece)
            for piece, own in compute(missing, states):
                state = State(states[piece.before] if piece.before else None, own)
                states[piece.whole] = state
                if level[piece]:
                    self._shared.keep(piece.whole, state)
        return states


def _levels(chains: Iterable[Sequence[Beginning]]) -> Iterator[dict[Piece, bool]]:
    """The first pieces of all chains, the second ones, and so on, each once, in their order; and of each whether
    prompts may share it: the last one ends in the question itself."""
    chains = list(chains)
    for depth in range(max(map(len, chains), default=0)):
        yield {
            Piece(chain[depth - 1] if depth else None, chain[depth]): depth < len(chain) - 1
            for chain in chains
            if depth < len(chain)
        }


def cache_of(states: Sequence[State], width: int, repeats: int = 1) -> DynamicCache:
    """The model's cache of ``states``, each of them ``repeats`` times, left padded to ``width`` tokens."""
    layers, two, heads, _, depth = states[0].own.shape
    own = states[0].own
    kept = own.new_zeros((layers, two, len(states) * repeats, heads, width, depth))
    for row in range(len(states) * repeats):
        states[row // repeats].write(kept[:, :, row])
    return DynamicCache([(keys, values) for keys, values in kept])


def state_of(cache: DynamicCache, start: int, lengths: Sequence[int]) -> list[Tensor]:
    """[N, 2, H, T, D] per row: the ``lengths[row]`` tokens from ``start`` on, apart from the rest of the cache."""
    own = torch.stack(
        [torch.stack([layer.keys[:, :, start:], layer.values[:, :, start:]]) for layer in cache.layers]
    )  # [N, 2, B, H, S, D]
    return [own[:, :, row, :, :length].clone() for row, length in enumerate(lengths)]


def why_not(model: Any) -> str | None:
    """Why prompts cannot branch from a state of ``model``; None if they can. Feeds one token."""
    token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    with torch.inference_mode():
        cache = model(input_ids=token, use_cache=True).past_key_values
    layers = getattr(cache, "layers", None)
    if not isinstance(cache, DynamicCache) or not layers:
        return f"it keeps a {type(cache).__name__}"
    kinds = {type(layer) for layer in layers}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return f"it keeps a {', '.join(sorted(kind.__name__ for kind in kinds))}"
    if len({(layer.keys.shape, layer.values.shape) for layer in layers} | {(layers[0].values.shape,) * 2}) > 1:
        return "its layers keep keys and values of several sizes"
    return None
