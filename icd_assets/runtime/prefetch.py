"""The next inputs are worked on in threads while the caller takes this one."""

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


def prefetch(
    read: Callable[[Given], Result], inputs: Iterable[Given], *, workers: int = WORKERS, ahead: int | None = None
) -> Generator[Result, None, None]:
    """``read`` of each input, in order, by ``workers`` threads.

    At most ``ahead`` results wait, by default twice as many as workers, whatever the number of inputs.
    An exception of ``read`` is raised in its place. What was begun when the caller stops is dropped.
    """
    ahead = ahead or 2 * workers
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    try:
        for given in inputs:
            waiting.append(pool.submit(read, given))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
