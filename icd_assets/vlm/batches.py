"""Work in batches: several of a small model's at once on a CPU, or one by one, smaller after full memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from icd_assets.errors import UserError
from icd_assets.runtime.threads import shared_out

_log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches:
    """``size`` items at most go together; of a ``small`` model as many batches at a time as there are threads."""

    def __init__(self, size: int, *, small: bool) -> None:
        self.size = size
        self.small = small

    def run(
        self,
        alike: Sequence[Sequence[Item]],
        compute: Callable[[Sequence[Item]], list[Result]],
        tokens: Callable[[Item], int],
    ) -> Iterator[tuple[Sequence[Item], list[Result]]]:
        """Every batch with its results, in their order: batches depend on ``alike`` alone, whose groups never
        share one. ``tokens`` is an item's length, for who has no memory for it."""
        return self._several(alike, compute) if self.small else self._one_by_one(alike, compute, tokens)

    def _several(
        self, alike: Sequence[Sequence[Item]], compute: Callable[[Sequence[Item]], list[Result]]
    ) -> Iterator[tuple[Sequence[Item], list[Result]]]:
        batches = [
            items[start : start + self.size] for items in alike for start in range(0, len(items), self.size)
        ]

        def computed(batch: Sequence[Item]) -> tuple[Sequence[Item], list[Result]]:
            with torch.inference_mode():  # holds for one thread
                return batch, compute(batch)

        return shared_out(computed, batches)

    def _one_by_one(
        self,
        alike: Sequence[Sequence[Item]],
        compute: Callable[[Sequence[Item]], list[Result]],
        tokens: Callable[[Item], int],
    ) -> Iterator[tuple[Sequence[Item], list[Result]]]:
        for items in alike:
            waiting = items
            while waiting:
                batch = waiting[: self.size]
                if (computed := self._unless_out_of_memory(batch, compute, tokens)) is not None:
                    waiting = waiting[len(batch) :]
                    yield batch, computed

    def _unless_out_of_memory(
        self,
        batch: Sequence[Item],
        compute: Callable[[Sequence[Item]], list[Result]],
        tokens: Callable[[Item], int],
    ) -> list[Result] | None:
        """The batch's results, or None after the batch size was halved."""
        try:
            with torch.inference_mode():
                return compute(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise UserError(
                    f"the GPU's memory does not hold one prompt of {tokens(batch[0])} tokens; lower the "
                    "model's max_pixels in the catalog, or free the GPU."
                ) from None
        # Outside the handler: the exception's traceback would keep the batch's tensors alive.
        torch.cuda.empty_cache()
        self.size = len(batch) // 2
        _log.warning("out of GPU memory: the batch size is now %d", self.size)
        return None
