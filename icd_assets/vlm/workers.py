"""A model in several processes, one per GPU: each loads it, and takes the next request when it is free.

Requests go out and answers come in through this process alone: nobody else writes the store of answers, so nothing
is merged, and progress, resume and cancellation are those of a model in one process. A worker is a fresh Python
(:mod:`icd_assets.vlm.worker`), not a fork: CUDA and torch's threads do not survive one.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from icd_assets.errors import UserError
from icd_assets.vlm.backend import Backend, Generation, HandOver, HandOverEach, Question, Reply
from icd_assets.vlm.prompts import PromptStyle

# How often the same prompts may end a worker before they count as the cause.
_DEATHS = 3
_END_SECONDS = 5.0

_log = logging.getLogger(__name__)


class WorkerDied(UserError):
    """A worker's process has ended, and not by an error of its own."""


@dataclass
class _Request:
    """What one worker is at: its number in the caller's order, and which of its positions have no answer yet."""

    number: int
    questions: Sequence[Question]
    open: list[int]
    sent: list[int] = field(default_factory=list)  # the positions that the worker counts from 0
    message: bytes = b""
    deaths: int = 0  # since its last batch

    @classmethod
    def of(cls, number: int, questions: Sequence[Question]) -> _Request:
        request = cls(number, questions, list(range(len(questions))))
        request.prepare()
        return request

    def prepare(self) -> None:
        """The message that asks for what has no answer yet."""
        self.sent = list(self.open)
        self.message = pickle.dumps([self.questions[at] for at in self.sent])

    def answered(self, answers: Mapping[int, Any]) -> dict[int, Any]:
        """A worker's batch by the request's own positions."""
        found = {self.sent[place]: answer for place, answer in answers.items()}
        self.open = [at for at in self.open if at not in found]
        self.deaths = 0
        return found


class Workers(Backend):
    """A backend opened once in each of ``places``, variables of a process's environment: the GPU that it sees, its
    number of threads. ``opens`` makes it there, and must be picklable.

    >>> with Workers(opens, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}], ...) as backend:
    ...     backend.generate(prompts)

    Processes start with the first request, so whoever only needs what is kept loads no model. One that dies is
    started again and asked for what it had not answered; after three deaths at the same prompts ``WorkerDied``.
    ``digest`` is what the opened backend's must be.
    """

    def __init__(
        self,
        opens: Callable[[], Backend],
        places: Sequence[Mapping[str, str]],
        *,
        digest: str,
        style: PromptStyle,
        generation: Generation,
    ) -> None:
        super().__init__(digest=digest, style=style, generation=generation)
        self._opens = pickle.dumps(opens)
        self._workers = [
            _Worker(place, f"worker {number} of {len(places)}") for number, place in enumerate(places, 1)
        ]

    def ask(self, questions: Sequence[Question], hand_over: HandOver[Reply]) -> None:
        self.ask_each([questions], lambda _, answers: hand_over(answers))

    def ask_each(self, requests: Iterable[Sequence[Question]], hand_over: HandOverEach) -> None:
        made = (_Request.of(number, questions) for number, questions in enumerate(requests))
        ready: deque[_Request] = deque()
        try:
            while True:
                for worker in self._workers:
                    if worker.at is None and (request := ready.popleft() if ready else next(made, None)):
                        self._ask(worker, request)
                if not (busy := [worker for worker in self._workers if worker.at is not None]):
                    return
                # One more for each is made while all are at work, but left to whoever is free first.
                waited = [worker.connection for worker in busy]
                while len(ready) < len(busy) and not wait(waited, 0):
                    if (request := next(made, None)) is None:
                        break
                    ready.append(request)
                heard = wait(waited)
                for worker in busy:
                    if worker.connection in heard:
                        self._take(worker, hand_over)
        except BaseException:
            self.close()  # answers on their way belong to nobody
            raise

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()

    def _ask(self, worker: _Worker, request: _Request) -> None:
        worker.at = request
        if worker.alive:
            worker.send(request.message)
        else:
            worker.start(self._opens)  # asked when it is open, and does not keep others from starting

    def _take(self, worker: _Worker, hand_over: HandOverEach) -> None:
        """The next message of a worker that has one, or has died."""
        request = worker.at
        assert request is not None, "only workers with a request are waited for"
        try:
            what, content = worker.connection.recv()
        except (EOFError, OSError):
            request.deaths += 1
            end = worker.end()
            if request.deaths == _DEATHS:
                raise WorkerDied(
                    f"{worker.name} of the model {end} {_DEATHS} times at the same {len(request.open)} prompts; "
                    "if the memory of this machine is the cause, lower ICD_WORKERS or the model's batch_size."
                ) from None
            _log.warning("%s of the model %s; it is started again", worker.name, end)
            request.prepare()
            self._ask(worker, request)
            return
        match what:
            case "opened":
                if content != self.digest:
                    raise ValueError(f"{worker.name} opened {content}, not {self.digest}")
                worker.send(request.message)
            case "answered":
                hand_over(request.number, request.answered(content))
            case "done":
                if request.open:
                    raise ValueError(f"{worker.name} left {len(request.open)} prompts without an answer")
                worker.at = None
            case "failed":
                raise content
            case _:
                raise ValueError(f"{worker.name} sent {what!r}")


class _Worker:
    """A place, and its process if one was started."""

    def __init__(self, place: Mapping[str, str], name: str) -> None:
        self.name = name
        self.at: _Request | None = None
        self.connection: Connection[Any, Any]
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None

    def start(self, opens: bytes) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.connection = Connection(ours.detach())
            self._process = subprocess.Popen(
                [sys.executable, "-m", "icd_assets.vlm.worker", str(theirs.fileno()), str(os.getpid())],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | dict(self._place),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self.send(opens)

    def send(self, message: bytes) -> None:
        with suppress(OSError):  # it is dead, as the next look at it finds
            self.connection.send_bytes(message)

    def end(self) -> str:
        """End the process if there is one; how it ended, in words."""
        process, self._process, self.at = self._process, None, None
        if process is None:
            return "was not started"
        self.connection.close()  # a worker without work ends by this
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.terminate()
        try:
            code = process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
