"""One holder at a time, on one machine: of an artifact while it is written, of a GPU while it is used.

The kernel frees the lock of a holder that died. Beside a lock lies a note that says who holds it; the note is for
the people who wait, and nothing depends on it.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout
from pydantic import BaseModel, ValidationError

from icd_assets.errors import UserError
from icd_assets.runtime.disk_errors import NO_LOCKS, no_locks
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.small_file import read_small

_POLL_SECONDS = 0.1
# Older versions of filelock raise instead of falling back.
_KERNEL_ONLY: dict[str, Any] = (
    {"fallback_to_soft": False} if "fallback_to_soft" in signature(BaseFileLock.__init__).parameters else {}
)

_LONGEST_NOTE = 1 << 12  # bytes
_NOTE_AFTER_SECONDS = 2.0

OnWait = Callable[[str], None]


def wait_silently(sentence: str) -> None:
    """For whoever need not know that it waits."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who takes a lock, in words: ``rl_data of demo|RandSampler/tiny_vl``, and in which run."""

    work: str = "another program"
    run_id: str = ""


class _Note(BaseModel):
    """Who holds a lock, since when."""

    work: str
    run_id: str
    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        run = f"run {self.run_id[:8]}, " if self.run_id else ""
        host = "" if self.host == socket.gethostname() else f" on {self.host}"
        return f"{self.work} (process {self.pid}{host}, {run}since {self.since})"


def acquire(path: Path, timeout: float = -1) -> BaseFileLock:
    """The lock ``path``, held by the kernel's means alone: what filelock falls back to, a killed holder leaves.

    timeout: seconds, -1 to wait for ever.
    Raises filelock's ``Timeout``, ``OSError``, and ``UserError`` on a file system that has no locks; there nothing
    of the lock is left, as nobody can hold it.
    """
    there = os.path.lexists(path)
    lock = FileLock(path, **_KERNEL_ONLY)
    try:
        lock.acquire(timeout=timeout)
    except (OSError, NotImplementedError) as error:
        if not _without_locks(error):
            raise
        if not there:
            with suppress(OSError):
                path.unlink()
        raise no_locks(path) from None
    return lock


def _without_locks(error: OSError | NotImplementedError) -> bool:
    """Whether it was the lock that was refused; what cannot be opened is named by its error."""
    if isinstance(error, NotImplementedError):
        return True
    unknown = error.errno == errno.EINVAL and error.filename is None  # of file systems that know no such call
    return not isinstance(error, Timeout) and (unknown or error.errno in NO_LOCKS)


@contextmanager
def hold(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock ``path``, as :func:`acquire` takes it."""
    lock = acquire(path, timeout)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def hold_one(locks: Mapping[str, Path], holder: Holder, on_wait: OnWait = wait_silently) -> Iterator[str]:
    """Hold the first of ``locks`` that is free, and yield its name; wait while none is.

    ``on_wait`` is called once, after two seconds, who holds them.
    """
    new = [folder for folder in dict.fromkeys(path.parent for path in locks.values()) if not folder.exists()]
    for path in locks.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_way(path)
    try:
        name, lock = _first_free(locks, on_wait)
    except UserError:  # no locks, then nothing is to be left
        for folder in new:
            with suppress(OSError):
                folder.rmdir()
        raise
    with _noted(locks[name], lock, holder):
        yield name


@contextmanager
def hold_some(
    locks: Mapping[str, Path], most: int, holder: Holder, on_wait: OnWait = wait_silently
) -> Iterator[list[str]]:
    """As :func:`hold_one`, and what else of ``locks`` is free at that moment, ``most`` at once."""
    with ExitStack() as held:
        names = [held.enter_context(hold_one(locks, holder, on_wait))]
        for name, path in locks.items():
            if name not in names and len(names) < most:
                with suppress(Timeout):
                    held.enter_context(_noted(path, acquire(path, timeout=0), holder))
                    names.append(name)
        yield names


@contextmanager
def _noted(path: Path, lock: BaseFileLock, holder: Holder) -> Iterator[None]:
    """Who holds ``lock`` lies beside it while it is held."""
    note = _note_path(path)
    try:
        _write_note(note, holder)
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def held_by(path: Path) -> str | None:
    """Who holds the lock ``path`` right now, in words; None if nobody does."""
    if not path.is_file():
        return None
    try:
        acquire(path, timeout=0).release()
    except Timeout:
        return _who(path)
    except (OSError, UserError):  # a results root that may only be read has no writer
        return None
    return None


def _first_free(locks: Mapping[str, Path], on_wait: OnWait) -> tuple[str, BaseFileLock]:
    began, noted = time.monotonic(), False
    while True:
        for name, path in locks.items():
            try:
                return name, acquire(path, timeout=0)
            except Timeout:
                continue
        if not noted and time.monotonic() - began >= _NOTE_AFTER_SECONDS:
            noted = True
            held = "; ".join(f"{name} is held by {_who(path)}" for name, path in locks.items())
            on_wait(f"waiting: {held}")
        time.sleep(_POLL_SECONDS)


def _write_note(path: Path, holder: Holder) -> None:
    note = _Note(
        work=holder.work,
        run_id=holder.run_id,
        pid=os.getpid(),
        host=socket.gethostname(),
        since=f"{datetime.now():%H:%M:%S}",
    )
    with suppress(OSError):  # on a full disk the work itself says so
        path.unlink(missing_ok=True)  # whatever it is: a pipe would be waited for
        with path.open("x", encoding="utf-8") as file:
            file.write(note.model_dump_json())


def _who(path: Path) -> str:
    try:
        return printable(str(_Note.model_validate_json(read_small(_note_path(path), _LONGEST_NOTE))))
    except (OSError, ValidationError):
        return "a process that has not left its name yet"


def _make_way(path: Path) -> None:
    """What is no file in a lock's place goes, unless it holds files of somebody's."""
    if path.is_file() and not path.is_symlink():
        return
    try:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be a lock ({error.strerror}); move it away.") from None


def _note_path(path: Path) -> Path:
    return path.with_suffix(".json")
