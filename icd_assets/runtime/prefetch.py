"""The next files are read in threads while the caller works on this one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")

# Pillow decodes outside the interpreter's lock, so a thread per core is of use; two more wait for the disk.
WORKERS = min(16, (os.cpu_count() or 1) + 2)


def prefetch(read: Callable[[Given], Result], inputs: Iterable[Given]) -> Generator[Result, None, None]:
    """``read`` of each input, in order. At most ``2 · WORKERS`` results wait, whatever the number of inputs.

    An exception of ``read`` is raised in its place. What was begun when the caller stops is dropped.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="prefetch")
    try:
        for given in inputs:
            waiting.append(pool.submit(read, given))
            if len(waiting) == 2 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
