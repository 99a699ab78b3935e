"""Ctrl-C ends the process wherever it falls.

Python runs a signal's handler between any two instructions of the main thread, and that handler raises. Where it
falls into a destructor or the callback of a weak reference, which the garbage collector may run at any moment,
Python prints "Exception ignored in …" and goes on: for hours, with work that was asked to end.
"""

from __future__ import annotations

import asyncio
import queue
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

Result = TypeVar("Result")

# By name: whoever asks for the state of a folder does not wait for Dagster's import.
_INTERRUPTS = {"KeyboardInterrupt", "DagsterExecutionInterruptedError"}
_AGAIN_AFTER_SECONDS = 0.05


@cache  # one hook per process
def deliver_every_interrupt() -> None:
    """Send this process the interrupts again that Python ignores, until one falls where it counts."""
    ignored: queue.SimpleQueue[None] = queue.SimpleQueue()  # the one queue that the collector may be put into
    others = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type.__name__ in _INTERRUPTS:
            ignored.put(None)
        else:
            others(unraisable)

    def send_again() -> None:
        main = threading.main_thread()
        while True:
            ignored.get()
            time.sleep(_AGAIN_AFTER_SECONDS)  # the destructor is left by then
            if main.ident is not None:
                signal.pthread_kill(main.ident, signal.SIGINT)

    threading.Thread(target=send_again, name="interrupts", daemon=True).start()
    sys.unraisablehook = hook


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """``asyncio.run``; an interrupt cancels ``work`` and is then raised as it would be outside.

    asyncio logs and forgets what is raised in a callback, unless it is of Python's own handler of SIGINT, in whose
    stead asyncio cancels. Dagster's handler, of SIGINT and SIGTERM alike, raises an error of its own.
    """
    if threading.current_thread() is not threading.main_thread():  # no signal is handled there
        return asyncio.run(work)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        return asyncio.run(work)
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    signal.raise_signal(signal.SIGINT)
    raise KeyboardInterrupt  # whoever handles signals here has only taken note
