"""Ctrl-C is heard wherever it falls.

Python runs a signal's handler between any two instructions of the main thread, and that handler raises. Where it
falls into a destructor or the callback of a weak reference, which the garbage collector may run at any moment,
Python prints "Exception ignored in …" and goes on: for hours, with work that was told to end.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
import time
from functools import cache

# By name: whoever asks for the state of a folder does not wait for Dagster's import.
_INTERRUPTS = {"KeyboardInterrupt", "DagsterExecutionInterruptedError"}
_AGAIN_AFTER_SECONDS = 0.05


@cache  # one hook per process
def hear_every_interrupt() -> None:
    """Send this process the interrupts again that Python ignores, until one falls where it is heard."""
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
