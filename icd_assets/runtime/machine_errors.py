"""What a machine can do to a program, in one sentence each, with what helps: a disk full or failing, a permission
missing, no memory, no process, no name for the user, a file or a folder gone, a database locked.

Errors of other packages are known by their names and texts: none of these packages is imported here.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.database_errors import explain_postgres, explain_sqlite
from icd_assets.runtime.disk_errors import GOES_ON, SURELY, explain_os
from icd_assets.runtime.foreign import printable

_NO_MEMORY = (
    "can't allocate memory",  # torch's allocator
    "not enough memory: you tried to allocate",  # the same on another system
    "cannot allocate memory",  # ENOMEM in words: dlopen, Rust, C++
    "failed to map segment from shared object",  # dlopen of a library whose pages do not fit
    "std::bad_alloc",
    "out of memory",
    "memory allocation of",  # Rust
    "killed by signal: killed",  # torch's workers: the kernel ends what takes most
)
_NO_PROCESS = ("can't start new thread", "cannot start new thread", "resource temporarily unavailable")
_PATH = re.compile(r"""['"](/[^'"]+)['"]""")  # in the text of a library that gives it nowhere else
_NO_HOME = ("could not determine home directory", "getpwuid(): uid not found", "no username set")
_NUMBER = re.compile(r"(?:os error |code: |\[errno |\berrno[ :=]+)(\d+)", re.IGNORECASE)  # Rust, C++, Arrow
_FOREIGN = ("safetensors", "safetensors_rust", "tokenizers", "pyarrow", "torch", "pyo3_runtime")
_KILLED = (-9, 137)  # as Python and as a shell report who ended by SIGKILL


def explain(error: BaseException, folder: Path | None = None) -> UserError | None:
    """The sentence for an error that the machine is to blame for, else None.

    folder: where was written, for an error that does not say it; the folder of work by default.
    """
    folder = _work() if folder is None else folder
    for one in _chain(error, implied=True):  # these break whatever comes after them
        if (sentence := _grave(one, folder)) is not None:
            return sentence
    for one in _chain(error, implied=False):  # these are often expected, and an error after them is another
        if (sentence := _ordinary(one, folder)) is not None:
            return sentence
    return None


def _chain(error: BaseException, *, implied: bool) -> Iterator[BaseException]:
    """The error and what it was raised from, in groups too; ``implied``: and what was being handled then."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
        original = getattr(one, "orig", None)  # SQLAlchemy's, of the driver's error
        before = [one.__cause__, original, one.__context__ if implied else None]
        todo += [other for other in before if isinstance(other, BaseException)]


def _grave(error: BaseException, folder: Path) -> UserError | None:
    text = _text(error)
    killed = any(getattr(error, name, None) in _KILLED for name in ("returncode", "exit_code"))  # a child of ours
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or killed:
        return _memory()
    if any(words in text for words in _NO_MEMORY):
        return _memory()
    if not isinstance(error, OSError) and any(words in text for words in _NO_PROCESS):
        return _processes()
    if isinstance(error, sqlite3.Error):
        return explain_sqlite(error, *_database(folder))
    if type(error).__module__.partition(".")[0] in ("psycopg", "psycopg2") and _is_no_bug(error):
        return explain_postgres(str(error))
    found = _as_os_error(error, text)
    if found is None or found.errno not in SURELY:
        return None
    return _memory() if found.errno == errno.ENOMEM else explain_os(found, folder)


def _ordinary(error: BaseException, folder: Path) -> UserError | None:
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return UserError(f"{_around(error)} is not UTF-8, as every name must be here; rename it or name another.")
    if isinstance(error, BlockingIOError) and error.strerror == os.strerror(errno.EAGAIN):  # of fork
        return _processes()
    if isinstance(error, RuntimeError | KeyError | OSError) and any(w in str(error).lower() for w in _NO_HOME):
        return UserError("this user has no home folder or no name on this machine; set HOME and USER to some.")
    if isinstance(error, NotImplementedError) and "flock" in str(error).lower():  # of filelock
        error = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    found = _as_os_error(error, _text(error))
    return explain_os(found, folder) if found is not None else None


def _memory() -> UserError:
    return UserError(f"the memory does not suffice; end other programs or take smaller batches, {GOES_ON}.")


def _processes() -> UserError:
    return UserError(
        "no further process or thread can be started; end other programs or raise the limit (ulimit -u), "
        f"{GOES_ON}."
    )


def _is_foreign(error: BaseException) -> bool:
    """Of a library that is not Python's, or raised as nothing more than an ``Exception``, as tokenizers does."""
    return type(error) is Exception or type(error).__module__.partition(".")[0] in _FOREIGN


def _text(error: BaseException) -> str:
    """In small letters, of errors of libraries alone."""
    library = isinstance(error, (RuntimeError, ImportError, OSError))
    return str(error).lower() if library or _is_foreign(error) else ""


def _as_os_error(error: BaseException, text: str) -> OSError | None:
    """The error itself, or the one whose number a library gives in its ``text`` alone."""
    if isinstance(error, OSError):
        nowhere = error.filename is None and "temporary directory" not in text
        place = _PATH.search(str(error)) if nowhere else None
        code = errno.ENOENT if isinstance(error, FileNotFoundError) else error.errno
        return error if place is None or code is None else OSError(code, os.strerror(code), place[1])
    if (number := _NUMBER.search(text)) is not None and int(number[1]) in errno.errorcode:
        return OSError(int(number[1]), os.strerror(int(number[1])))
    return next((OSError(code, os.strerror(code)) for code in SURELY if os.strerror(code).lower() in text), None)


def _is_no_bug(error: BaseException) -> bool:
    return type(error).__name__ in ("OperationalError", "InterfaceError", "InternalError")


def _database(folder: Path) -> tuple[str, Path]:
    """What to call a database whose error does not name it: all but Dagster's own are explained where they are."""
    home = os.environ.get("DAGSTER_HOME")
    return ("Dagster's records", Path(home)) if home else ("a database", folder)


def _around(error: UnicodeEncodeError) -> str:
    """The word or path about the place that has no character."""
    found = re.search(r"[^\s'\"]*$", error.object[max(0, error.start - 80) : error.start])
    after = re.match(r"[^\s'\"]*", error.object[error.start : error.start + 80])
    return printable(f"{found[0] if found else ''}{after[0] if after else ''}")


def _work() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return Path("/")
