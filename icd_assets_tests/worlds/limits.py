"""Little time and little memory for what a hostile file may ask for more of."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = 1 << 30  # bytes, over what the process has already


class TooLongError(BaseException):
    """A command waits."""


@contextmanager
def limits(seconds: float) -> Iterator[None]:
    """``seconds`` of the clock, and a gibibyte more of address space than there is."""

    def alarm(*_: object) -> None:
        raise TooLongError

    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (virtual + MEMORY, hard))
    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
