"""One process of :class:`icd_assets.vlm.workers.Workers`: ``python -m icd_assets.vlm.worker DESCRIPTOR PARENT``.

It ends when its parent has: at once while it waits, within a second while it computes. An interrupt is the
parent's alone to handle, which the terminal sends to both.
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
from typing import Any

_LOOK_SECONDS = 1.0


def main(descriptor: int, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    connection: Connection[Any, Any] = Connection(descriptor)
    try:
        _serve(connection)
    except (EOFError, OSError):  # nobody is there to answer
        os._exit(0)


def _serve(connection: Connection[Any, Any]) -> None:
    try:
        backend = pickle.loads(connection.recv_bytes())()  # noqa: S301 - from the parent
        connection.send(("opened", backend.digest))
        while True:
            backend.ask(connection.recv(), lambda answers: connection.send(("answered", dict(answers))))
            connection.send(("done", None))
    except (EOFError, ConnectionError):
        raise
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        connection.send(("failed", _portable(error)))


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
