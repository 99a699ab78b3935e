"""Work in batches: several of a small model's at once on a CPU, or one by one, smaller after full memory."""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from icd_assets.errors import UserError
from icd_assets.runtime.threads import shared_out

# At once, where neither the user nor a GPU's memory says how many.
ROWS = 8

_log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches:
    """``rows`` items at most go together, and no more than have ``tokens`` tokens with their padding, but one at
    least; of a ``small`` model ``rows`` alone counts, and as many batches go at a time as there are threads."""

    def __init__(self, rows: float, tokens: float = math.inf, *, small: bool) -> None:
        self.rows = rows
        self.tokens = tokens
        self.small = small

    def fitting(
        self, items: Sequence[Item], tokens: Callable[[Sequence[Item]], int], batches: int = 1
    ) -> Sequence[Item]:
        """The first of ``items``, as many as ``batches`` batches may hold; ``tokens`` is what several have
        together, and grows with each."""
        most = min(batches * self.rows, len(items))
        more = range(2, int(most) + 1)
        return items[: 1 + bisect_right(more, batches * self.tokens, key=lambda rows: tokens(items[:rows]))]

    def run(
        self,
        alike: Sequence[Sequence[Item]],
        compute: Callable[[Sequence[Item]], list[Result]],
        tokens: Callable[[Sequence[Item]], int],
    ) -> Iterator[tuple[Sequence[Item], list[Result]]]:
        """Every batch with its results, in their order: the batches of one size depend on ``alike`` alone, whose
        groups never share one. ``tokens`` is what a batch has, beams and padding counted."""
        return self._several(alike, compute) if self.small else self._one_by_one(alike, compute, tokens)

    def _several(
        self, alike: Sequence[Sequence[Item]], compute: Callable[[Sequence[Item]], list[Result]]
    ) -> Iterator[tuple[Sequence[Item], list[Result]]]:
        rows = int(self.rows)
        batches = [items[start : start + rows] for items in alike for start in range(0, len(items), rows)]

        def computed(batch: Sequence[Item]) -> tuple[Sequence[Item], list[Result]]:
            with torch.inference_mode():  # holds for one thread
                return batch, compute(batch)

        return shared_out(computed, batches)

    def _one_by_one(
        self,
        alike: Sequence[Sequence[Item]],
        compute: Callable[[Sequence[Item]], list[Result]],
        tokens: Callable[[Sequence[Item]], int],
    ) -> Iterator[tuple[Sequence[Item], list[Result]]]:
        for items in alike:
            waiting = items
            while waiting:
                batch = self.fitting(waiting, tokens)
                if (computed := self._unless_out_of_memory(batch, compute, tokens)) is not None:
                    waiting = waiting[len(batch) :]
                    yield batch, computed

    def _unless_out_of_memory(
        self,
        batch: Sequence[Item],
        compute: Callable[[Sequence[Item]], list[Result]],
        tokens: Callable[[Sequence[Item]], int],
    ) -> list[Result] | None:
        """The batch's results, or None after the number of tokens was halved."""
        try:
            with torch.inference_mode():
                return compute(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise UserError(
                    f"the GPU's memory does not hold one prompt, {tokens(batch)} tokens with its beams; lower the "
                    "model's max_pixels in the catalog, or free the GPU."
                ) from None
        # Outside the handler: the exception's traceback would keep the batch's tensors alive.
        torch.cuda.empty_cache()
        self.tokens = tokens(batch) // 2
        _log.warning("out of GPU memory: a batch now has %d tokens at most", self.tokens)
        return None
