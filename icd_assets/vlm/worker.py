"""What a worker of :class:`icd_assets.vlm.workers.Workers` does, and one that is a process of this machine:
``python -m icd_assets.vlm.worker DESCRIPTOR PARENT``.

The process ends when its parent has: at once while it waits, within a second while it computes. An interrupt is
the parent's alone to handle, which the terminal sends to both.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any, Protocol

_LOOK_SECONDS = 1.0


def main(descriptor: int, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    connection: Connection[Any, Any] = Connection(descriptor)
    try:
        serve(connection)
    except (EOFError, OSError):  # nobody is there to answer
        os._exit(0)


class Line(Protocol):
    """To the parent: what it sent, and messages to it, each in the order of sending."""

    def recv_bytes(self) -> bytes: ...
    def send(self, message: tuple[str, Any], /) -> None: ...


def serve(line: Line) -> None:
    """Open the model by the first that is received, and answer each request that follows.

    Sent are ``("opened", digest)``, then for each request ``("answered", answers by position)`` per batch and
    ``("done", None)``; and ``("failed", error)``, which is the last. Raises what the line does when it is cut.
    """
    try:
        backend = _received(line)()
        line.send(("opened", backend.digest))
        while True:
            backend.ask(_received(line), lambda answers: line.send(("answered", dict(answers))))
            line.send(("done", None))
    except (EOFError, ConnectionError):
        raise
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        line.send(("failed", _portable(error)))


def _received(line: Line) -> Any:
    return pickle.loads(line.recv_bytes())  # noqa: S301 - from the parent


def _portable(error: BaseException) -> BaseException:
    """The error itself if it survives the way, with where it was raised; else one that says the same."""
    from icd_assets.errors import UserError

    if isinstance(error, UserError):
        return UserError(str(error))
    if isinstance(error, MemoryError):
        return MemoryError(str(error))
    return RuntimeError(f"in a worker of the model:\n{''.join(traceback.format_exception(error))}")


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
