"""One thread for work whose bytes must not depend on how many there are.

A matrix product or a sum that threads share is added up in another order for each number of them, and its last
bits differ. Small work gains little or nothing by more threads (benchmarks/threads.py). Larger work is shared in
whole pieces, each on one thread, or keeps its threads and may differ.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

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


def shared_out(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``work`` of each item, in their order: on as many threads as torch has here, each item whole on one of them.

    What ``work`` raises is raised here, after the items already begun; no further one is begun then, nor after the
    caller has stopped asking.
    """
    import torch

    count = torch.get_num_threads()
    with one_thread(), ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        running: deque[Future[Result]] = deque()
        try:
            for item in items:
                running.append(pool.submit(work, item))
                if len(running) > count:  # one waits for whoever is free next
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
