"""A long collection as a map over chunks: a pure function of a chunk, and a loop that only concatenates.

What collects RL data and beams is a top-level function whose first argument is the chunk. Its result depends
neither on the other chunks nor on their size or order: a VLM answers a prompt alike in any batch (on a CPU to the
bit), and every random draw is derived from (seed, row). So an engine may take the chunks instead of
:func:`map_chunks`, in other processes and in any order, and put the results into the order of the items.

What such a worker must open itself, once, because it does not travel: the backend (a model on a device or a
client, behind the answer store, an SQLite file), the train split and the embeddings (memory-mapped files), the
policy (the weights of a checkpoint). Chunks, pools, configs and results are plain values that can be pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from icd_assets.runtime.progress import OnProgress, ignore

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_chunks(
    of_chunk: Callable[[Sequence[Item]], Iterable[Result]],
    items: Sequence[Item],
    size: int,
    on_progress: OnProgress = ignore,
) -> list[Result]:
    """One result per item, in the items' order; ``of_chunk`` gets ``size`` items at a time. Progress counts items.

    Raises ``ValueError`` for a size below 1.
    """
    if size < 1:
        raise ValueError(f"chunk size {size} < 1")
    found: list[Result] = []
    for start in range(0, len(items), size):
        found += of_chunk(items[start : start + size])
        on_progress(len(found), len(items))
    return found
