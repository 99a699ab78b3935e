"""A model in several processes, one per GPU: each loads it, and takes the next request when it is free.

Requests go out and answers come in through this process alone: nobody else writes the store of answers, so nothing
is merged, and progress, resume and cancellation are those of a model in one process. Who does what when is decided
here, once; a worker is a process of this machine (:mod:`icd_assets.vlm.local_workers`) or an actor of a Ray
cluster (:mod:`icd_assets.vlm.ray_workers`).
"""

from __future__ import annotations

import logging
import pickle
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from icd_assets.errors import UserError
from icd_assets.vlm.backend import Backend, Generation, HandOver, HandOverEach, Question, Reply
from icd_assets.vlm.prompts import PromptStyle

# How often the same prompts may end a worker before they count as the cause.
_DEATHS = 3

_log = logging.getLogger(__name__)


class WorkerDied(UserError):
    """A worker's process has ended, and not by an error of its own."""


class Gone(Exception):
    """There is no process any more that a message could come from."""


# ("opened", digest), ("answered", answers of a batch by position), ("done", None) or ("failed", error)
Message = tuple[str, Any]


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


class Worker(ABC):
    """A process that may hold the model: what opens it goes in first, then one request after another, each as soon
    as the one before is done. See :mod:`icd_assets.vlm.worker` for what comes out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.at: _Request | None = None
        self.open = False  # it has said so

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it was started, and not ended."""

    @abstractmethod
    def start(self, opens: bytes) -> None:
        """Start the process; the model is opened meanwhile."""

    @abstractmethod
    def send(self, request: bytes) -> None:
        """Have an open one work on it. If it is dead, :meth:`receive` finds that."""

    @abstractmethod
    def receive(self) -> Message:
        """The next message of one that has one. Raises ``Gone`` if it is dead."""

    @abstractmethod
    def end(self) -> str:
        """End the process if there is one; how it ended, in words."""

    @classmethod
    @abstractmethod
    def ready(cls, workers: Sequence[Worker], *, wait: bool) -> Sequence[Worker]:
        """Those that have a message or are dead; ``wait``: until there is one."""


class Workers(Backend):
    """A backend opened once by each worker that ``hire`` gives. ``opens`` makes it there, and must be picklable.

    >>> hire = partial(on_this_machine, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}])
    >>> with Workers(opens, hire, digest=..., style=..., generation=...) as backend:
    ...     backend.generate(prompts)

    Processes start with the first request, so whoever only needs what is kept loads no model. One that dies is
    started again and asked for what it had not answered; after three deaths at the same prompts ``WorkerDied``.
    ``digest`` is what the opened backend's must be.
    """

    def __init__(
        self,
        opens: Callable[[], Backend],
        hire: Callable[[], Sequence[Worker]],
        *,
        digest: str,
        style: PromptStyle,
        generation: Generation,
    ) -> None:
        super().__init__(digest=digest, style=style, generation=generation)
        self._opens = pickle.dumps(opens)
        self._hire = hire
        self._workers: Sequence[Worker] = ()

    def ask(self, questions: Sequence[Question], hand_over: HandOver[Reply]) -> None:
        self.ask_each([questions], lambda _, answers: hand_over(answers))

    def ask_each(self, requests: Iterable[Sequence[Question]], hand_over: HandOverEach) -> None:
        made = (_Request.of(number, questions) for number, questions in enumerate(requests))
        if (first := next(made, None)) is None:
            return
        ready = deque([first])
        try:
            self._workers = self._workers or self._hire()
            while True:
                for worker in self._workers:
                    if worker.at is None and (request := self._next(worker, ready, made)) is not None:
                        self._ask(worker, request)
                if not (busy := [worker for worker in self._workers if worker.at is not None]):
                    return
                # One more for each is made while all are at work, but left to whoever is free first.
                look = busy[0].ready  # they are of one kind
                while len(ready) < len(busy) and not look(busy, wait=False):
                    if (request := next(made, None)) is None:
                        break
                    ready.append(request)
                for worker in look(busy, wait=True):
                    self._take(worker, hand_over)
        except BaseException:
            self.close()  # answers on their way belong to nobody
            raise

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()

    def _next(self, worker: Worker, ready: deque[_Request], made: Iterator[_Request]) -> _Request | None:
        """What an idle worker is to do: the last requests of all are not left to those that are still opening the
        model, or that a cluster has no place for."""
        if ready:
            return ready.popleft()
        if (request := next(made, None)) is not None:
            return request
        for other in self._workers if worker.open else ():
            if other.at is not None and not other.open:
                request, other.at = other.at, None
                return request
        return None

    def _ask(self, worker: Worker, request: _Request) -> None:
        worker.at = request
        if worker.open:
            worker.send(request.message)
        elif not worker.alive:
            worker.start(self._opens)  # asked when it is open, and does not keep others from starting

    def _take(self, worker: Worker, hand_over: HandOverEach) -> None:
        """The next message of a worker that has one, or has died."""
        request = worker.at
        assert request is not None, "only workers with a request are waited for"
        try:
            what, content = worker.receive()
        except Gone:
            request.deaths += 1
            end = worker.end()
            if request.deaths == _DEATHS:
                raise WorkerDied(
                    f"{worker.name} of the model {end} {_DEATHS} times at the same {len(request.open)} prompts; "
                    "if the memory of its machine is the cause, lower ICD_WORKERS or the model's batch_size."
                ) from None
            _log.warning("%s of the model %s; it is started again", worker.name, end)
            request.prepare()
            self._ask(worker, request)
            return
        match what:
            case "opened":
                if content != self.digest:
                    raise ValueError(f"{worker.name} opened {content}, not {self.digest}")
                worker.open = True
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
