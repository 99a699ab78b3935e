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
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import count as numbers
from pathlib import Path
from typing import Any

VARIABLE = "ICD_TORTURE"
_PATH = "icd_assets.vlm.branching_path:BranchingPath"


@dataclass(frozen=True)
class Fault:
    """``place`` is ``module:function`` or ``module:Class.method``; ``then`` is what happens, see ``_strike``.

    ``matching`` counts only calls one of whose arguments contains the text. ``every``: it strikes from the n-th
    call on. ``again_at`` is a place at whose next call after the strike the same happens once more.
    """

    place: str
    then: str
    after: bool = False
    nth: int = 1
    matching: str = ""
    disk: str = ""  # the folder to fill
    results: str = ""  # the folder that may only be read from then on
    every: bool = False
    again_at: str = ""
    in_worker: bool = False  # of a command of Dagster's: in its own process, not in a step's


def arm(fault: Fault | None, asked: Path | None) -> None:
    """Prepare this process, and its children by fork, for the fault."""
    if asked is not None:
        for method in ("_generated", "_scored"):
            wrap(f"{_PATH}.{method}", lambda arguments: count(asked, len(arguments[1])), after=False)
    if fault is not None:
        calls = [0]

        def strike(arguments: tuple[Any, ...]) -> None:
            if fault.matching and not any(fault.matching in str(argument) for argument in arguments):
                return
            calls[0] += 1
            if calls[0] == fault.nth or (fault.every and calls[0] > fault.nth):
                if fault.again_at and calls[0] == fault.nth:
                    _once(fault.again_at, lambda: _strike(fault))
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


_REFUSED = {
    "eio": errno.EIO,
    "edquot": errno.EDQUOT,
    "enospc": errno.ENOSPC,
    "erofs": errno.EROFS,
    "enotsup": errno.ENOTSUP,
    "enolck": errno.ENOLCK,
    "enosys": errno.ENOSYS,
}
_SENT = {
    "kill": signal.SIGKILL,
    "term": signal.SIGTERM,
    "int": signal.SIGINT,
    "int_twice": signal.SIGINT,
    "hup": signal.SIGHUP,
}
_CLOCKS = {"clock_hour": timedelta(hours=1), "clock_day": timedelta(days=1)}


def _strike(fault: Fault) -> None:
    way = fault.then
    if way == "fill":
        fill(Path(fault.disk))
    elif way == "inodes":
        take_inodes(Path(fault.disk))
    elif way == "readonly":
        forbid_writing(Path(fault.results))
    elif way == "memory":
        raise MemoryError
    elif way in _REFUSED:
        raise OSError(_REFUSED[way], os.strerror(_REFUSED[way]))
    elif way in _CLOCKS:
        set_clock_back(_CLOCKS[way])
    elif way == "term_unheard":
        _in_a_destructor(lambda: signal.raise_signal(signal.SIGTERM))
    elif way == "kill_parent":
        parent = multiprocessing.parent_process()
        assert parent is not None
        assert parent.pid is not None
        os.kill(parent.pid, signal.SIGKILL)
        time.sleep(30)  # long enough to be found alive if nothing ends this process
    elif way.endswith("_group"):  # as a terminal does
        os.killpg(0, _SENT[way.removesuffix("_group")])
    elif way == "stop":
        stopped(Path(fault.disk)).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        os.kill(os.getpid(), _SENT[way])


def _once(place: str, act: Callable[[], None]) -> None:
    calls = [0]

    def hook(_: tuple[Any, ...]) -> None:
        calls[0] += 1
        if calls[0] == 1:
            act()

    wrap(place, hook, after=False)


def stopped(disk: Path) -> Path:
    """The file that names the process which has stopped itself."""
    return disk.with_name("stopped")


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


def take_inodes(disk: Path) -> None:
    """Make files until the file system has no inode left; there is room for bytes."""
    folder = ballast_of_inodes(disk)
    folder.mkdir()
    for number in numbers():
        try:
            os.close(os.open(folder / str(number), os.O_WRONLY | os.O_CREAT))
        except OSError:
            break


def ballast_of_inodes(disk: Path) -> Path:
    return disk / "ballast.d"


def forbid_writing(folder: Path) -> None:
    """From now on nothing in ``folder`` can be opened for writing. What is open stays so, as where the kernel
    finds an error in a file system at work."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)


def relieve(disk: Path, results: Path) -> None:
    """Undo what was done to the disk."""
    (disk / "ballast").unlink(missing_ok=True)
    shutil.rmtree(ballast_of_inodes(disk), ignore_errors=True)
    subprocess.run(["umount", "--lazy", results], capture_output=True)  # mostly it is no mount point


def set_clock_back(by: timedelta) -> None:
    """Of this process: what it reads as the time, and what it leaves as the time of the files that it moves.

    The kernel goes on: a file that is only written has the true time.
    """
    seconds = by.total_seconds()
    true_time, true_nanoseconds, replace = time.time, time.time_ns, os.replace

    class Kind(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, datetime)

    class Back(datetime, metaclass=Kind):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) - by

    def set_back(path: Any) -> None:
        now = time.time()
        os.utime(path, (now, now), follow_symlinks=False)

    def replaced(source: Any, target: Any, **named: Any) -> None:
        set_back(source)
        replace(source, target, **named)

    time.time = lambda: true_time() - seconds
    time.time_ns = lambda: true_nanoseconds() - int(seconds * 1e9)
    os.replace = replaced
    for name, module in list(sys.modules.items()):
        if name.startswith(("icd_assets.", "dagster.")) and getattr(module, "datetime", None) is datetime:
            module.datetime = Back  # type: ignore[attr-defined]
