"""One thread for work whose bytes must not depend on how many there are.

A matrix product or a sum that threads share is added up in another order for each number of them, and its last
bits differ. Small work gains little or nothing by more threads (benchmarks/threads.py). Larger work is shared in
whole pieces, each on one thread, or keeps its threads and may differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# A model of fewer parameters runs on one thread.
SMALL_MODEL = 10_000_000


@contextmanager
def one_thread(device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, torch computes on one thread; afterwards, and after an error, on as many as before.

    Nothing changes for another ``device`` than a CPU. Nests. The number is the whole process's: what its other
    threads compute meanwhile gets slower.
    """
    import torch

    if torch.device(device).type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
