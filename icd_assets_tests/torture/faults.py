"""A fault: what happens to this process when a named function is called for the n-th time.

It wraps the function from outside. Also counts the batches that the VLM is asked, in a file that survives.
"""

from __future__ import annotations

import errno
import functools
import importlib
import json
import multiprocessing
import os
import signal
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLE = "ICD_TORTURE"
_BACKEND = "icd_assets.vlm.transformers_backend:TransformersBackend"


@dataclass(frozen=True)
class Fault:
    """``place`` is ``module:function`` or ``module:Class.method``; ``then`` is what happens, see ``_strike``.

    ``matching`` counts only calls one of whose arguments contains the text.
    """

    place: str
    then: str
    after: bool = False
    nth: int = 1
    matching: str = ""
    disk: str = ""  # the folder to fill


def arm(fault: Fault | None, asked: Path | None) -> None:
    """Prepare this process, and its children by fork, for the fault."""
    if asked is not None:
        for method in ("_generate_batch", "_score_batch"):
            wrap(f"{_BACKEND}.{method}", lambda arguments: count(asked, len(arguments[1])), after=False)
    if fault is not None:
        calls = [0]

        def strike(arguments: tuple[Any, ...]) -> None:
            if fault.matching and not any(fault.matching in str(argument) for argument in arguments):
                return
            calls[0] += 1
            if calls[0] == fault.nth:
                _strike(fault)

        wrap(fault.place, strike, after=fault.after)


def environment(fault: Fault, asked: Path) -> dict[str, str]:
    """For a process that Dagster starts: ``site`` must be on its PYTHONPATH."""
    return {VARIABLE: json.dumps({"fault": asdict(fault), "asked": str(asked)})}


def arm_from_environment() -> None:
    """In the processes that multiprocessing starts, which are the steps; the run worker itself is left alone."""
    spec = json.loads(os.environ[VARIABLE])
    os.register_at_fork(after_in_child=lambda: arm(Fault(**spec["fault"]), Path(spec["asked"])))


def wrap(place: str, hook: Callable[[tuple[Any, ...]], None], *, after: bool) -> None:
    module, _, name = place.partition(":")
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, last)

    @functools.wraps(original)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        if not after:
            hook(arguments)
        result = original(*arguments, **named)
        if after:
            hook(arguments)
        return result

    setattr(owner, last, wrapper)


def count(path: Path, prompts: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{prompts}\n".encode())
    os.close(descriptor)


def _strike(fault: Fault) -> None:
    if fault.then == "fill":
        fill(Path(fault.disk))
    elif fault.then == "memory":
        raise MemoryError
    elif fault.then == "eio":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    elif fault.then == "term_unheard":
        _in_a_destructor(lambda: signal.raise_signal(signal.SIGTERM))
    elif fault.then == "kill_parent":
        parent = multiprocessing.parent_process()
        assert parent is not None
        assert parent.pid is not None
        os.kill(parent.pid, signal.SIGKILL)
        time.sleep(30)  # long enough to be found alive if nothing ends this process
    else:
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "term": signal.SIGTERM}[fault.then])


def _in_a_destructor(act: Callable[[], None]) -> None:
    """Where Python ignores what ``act`` raises, an interrupt too."""

    class Doomed:
        pass

    doomed = Doomed()
    _watching = weakref.ref(doomed, lambda _: act())
    del doomed


def fill(disk: Path) -> None:
    """Take every byte that the file system has left."""
    with (disk / "ballast").open("ab") as file:
        for size in (1 << 20, 1 << 12):
            while True:
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                except OSError:
                    break
                file.seek(size, os.SEEK_CUR)
