"""Workers that are processes of this machine, each spoken to through one end of a socket pair.

A worker is a fresh Python (:mod:`icd_assets.vlm.worker`), not a fork: CUDA and torch's threads do not survive one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import connection as connections
from multiprocessing.connection import Connection
from typing import Any, cast

from icd_assets.vlm.workers import Gone, Message, Worker

_END_SECONDS = 5.0


def on_this_machine(places: Sequence[Mapping[str, str]]) -> list[Worker]:
    """One in each of ``places``, variables of a process's environment: its GPU, its number of threads."""
    return [LocalWorker(place, f"worker {number} of {len(places)}") for number, place in enumerate(places, 1)]


class LocalWorker(Worker):
    """A place, and its process if one was started."""

    def __init__(self, place: Mapping[str, str], name: str) -> None:
        super().__init__(name)
        self._connection: Connection[Any, Any]
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None

    def start(self, opens: bytes) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._connection = Connection(ours.detach())
            self._process = subprocess.Popen(
                [sys.executable, "-m", "icd_assets.vlm.worker", str(theirs.fileno()), str(os.getpid())],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | dict(self._place),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self.send(opens)

    def send(self, request: bytes) -> None:
        with suppress(OSError):  # it is dead, as the next look at it finds
            self._connection.send_bytes(request)

    def receive(self) -> Message:
        try:
            return cast(Message, self._connection.recv())
        except (EOFError, OSError):
            raise Gone from None

    @classmethod
    def ready(cls, workers: Sequence[Worker], *, wait: bool) -> Sequence[Worker]:
        of = {worker._connection: worker for worker in workers if isinstance(worker, LocalWorker)}
        return [of[connection] for connection in connections.wait(list(of), None if wait else 0)]  # type: ignore[index]

    def end(self) -> str:
        process, self._process, self.at, self.open = self._process, None, None, False
        if process is None:
            return "was not started"
        self._connection.close()  # a worker without work ends by this
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.terminate()
        try:
            code = process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
