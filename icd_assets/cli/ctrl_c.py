"""Ctrl-C while the command line is still being imported is one sentence too.

It comes before all else, and imports only what Python has loaded by itself. :mod:`icd_assets.cli.ending` does the
rest once it is there.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as of typing, which takes its time
if TYPE_CHECKING:
    from types import TracebackType

INTERRUPTED = 130  # as a shell reports a program that SIGINT ended; SIGTERM ends alike
SENTENCE = "icd-assets: interrupted; what is complete is kept, and the same command goes on from there\n"


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    try:
        os.write(2, SENTENCE.encode())
    finally:  # whatever comes in between
        os._exit(INTERRUPTED)


def _unraisable(ignored: sys.UnraisableHookArgs) -> None:
    """What Python ignores: an interrupt that falls into pydantic's core, which builds schemas during imports."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        _hook(ignored.exc_type, KeyboardInterrupt(), None)
    sys.__unraisablehook__(ignored)


sys.excepthook = _hook
sys.unraisablehook = _unraisable  # icd_assets.runtime.interrupts takes over before a command begins
