"""A step's process ends with the process that started it.

Gap: Dagster's multiprocess executor (1.13.27) leaves the steps of a killed run worker running (process management
is asked for in #1906): they would train on, write into a run that has failed, and hold their GPU against the run's
retry.

The kernel's own means (PR_SET_PDEATHSIG) does not reach here: a step's parent is multiprocessing's fork server,
which outlives the run worker, because each step inherits a copy of the pipe whose end it waits for. But each step
also has a pipe from the run worker alone (``multiprocessing.parent_process``), which the kernel closes when that
one dies, however it dies.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from functools import cache


@cache  # one watch per process
def die_with_parent() -> None:
    """In a process that multiprocessing started: end it, at once and without clean-up, when its parent is gone.

    Elsewhere (the command line, tests) nothing happens.
    """
    if (parent := multiprocessing.parent_process()) is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)  # as SIGKILL would: what is complete is complete, and the kernel frees every lock

    threading.Thread(target=watch, name="parent watch", daemon=True).start()
