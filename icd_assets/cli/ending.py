"""How a command ends: Ctrl-C, SIGTERM and a terminal that is closed with one sentence, a reader that went away
without a word.

Nothing is undone at an interrupt: a kill would leave the same behind, and the next command goes on from there.
Only a run of Dagster's ends in its records first (:func:`unwinding`).
"""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, NoReturn

from icd_assets.cli.ctrl_c import INTERRUPTED, SENTENCE
from icd_assets.runtime.foreign import harmless
from icd_assets.runtime.secrets import redacted

_format_warning = warnings.formatwarning
_LONGEST = 100_000  # characters of a traceback
READER_GONE = 141  # as a shell reports one that SIGPIPE ended
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunFailed(Exception):
    """The run failed for a reason that is not the user's mistake."""

    exit_code = 1


def begin() -> None:
    """Make the standard streams usable, and let an interrupt end the command at once."""
    _open_streams()
    if logging.lastResort is not None:  # what a library warns of, where nobody listens
        logging.lastResort.setFormatter(_Harmless())
    warnings.formatwarning = _warning
    sys.excepthook = _unexplained
    threading.excepthook = _unexplained_in_thread
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell starts a job in the background
            signal.signal(number, leave)


class _Harmless(logging.Formatter):
    """Names in a library's warning come from files of anyone's, and a server's answer may hold a key."""

    def format(self, record: logging.LogRecord) -> str:
        return harmless(redacted(super().format(record)))


def _warning(*words: Any, **more: Any) -> str:
    return harmless(redacted(_format_warning(*words, **more)))


def leave(*_: object) -> NoReturn:
    """End the process here, wherever that is: no clean-up, no thread, no destructor can print or wait."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    line = "\r\x1b[K" if _is_screen(2) else ""  # over the terminal's own ^C, and a line of progress
    _write(f"{line}{SENTENCE}")
    os._exit(INTERRUPTED)


def _unexplained(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A bug is shown with its traceback; what a file's name or text brought into it steers no terminal."""
    if issubclass(kind, KeyboardInterrupt):
        leave()
    try:
        text = "".join(traceback.format_exception(kind, error, trace))
        text = text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}\n…\n{text[-_LONGEST // 2 :]}"
        text = harmless(redacted(text))
    except Exception:  # noqa: BLE001 - of an error that cannot even be written, or without memory
        text = f"{kind.__name__}, of which no more can be shown\n"
    _write(text)


def _unexplained_in_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not issubclass(ended.exc_type, SystemExit):
        _unexplained(ended.exc_type, ended.exc_value, ended.exc_traceback)


@contextmanager
def unwinding() -> Iterator[None]:
    """Within, an interrupt raises KeyboardInterrupt, so that a run can record its end; then, or at a second one,
    the process ends.

    Dagster puts handlers of its own in place of this one, but none of SIGHUP, and drops an interrupt that falls
    behind its last step. The kernel's signal numbers pass through a pipe, so none is lost.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    try:
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _as_ctrl_c if number == signal.SIGHUP else _raise_once)
        try:
            yield
            if _interrupted(reading):
                leave()
        except KeyboardInterrupt:
            leave()
    except KeyboardInterrupt:  # a second one on the way there, where Dagster's handler took the first
        leave()
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _as_ctrl_c(*_: object) -> None:
    """Whoever handles SIGINT now is to do it; where it is ignored, SIGTERM's."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.raise_signal(signal.SIGTERM if ignored else signal.SIGINT)


def _raise_once(*_: object) -> NoReturn:
    for number in _SIGNALS:
        signal.signal(number, leave)
    raise KeyboardInterrupt


def _interrupted(reading: int) -> bool:
    with suppress(BlockingIOError):
        return any(number in _SIGNALS for number in os.read(reading, 4096))
    return False


def require_output() -> None:
    """End the process if stdout could not be written: without a word if nobody reads it any more."""
    with suppress(OSError):
        sys.stdout.flush()
    if _Output.problem is None:
        return
    if _Output.problem.errno == errno.EPIPE:
        os._exit(READER_GONE)
    _write(f"icd-assets: stdout cannot be written ({_Output.problem.strerror}); send it elsewhere.\n")
    os._exit(2)


class _Output(io.FileIO):
    """Stdout, remembering that it could not be written: click, rich and Dagster make other errors of that."""

    problem: OSError | None = None

    def write(self, data: Any, /) -> Any:
        try:
            return super().write(data)
        except OSError as error:
            _Output.problem = error
            raise


def _open_streams() -> None:
    """What a caller closed is /dev/null: else the next file opened, a database, would be what is printed to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    encoding = "utf-8" if sys.stdout is None else sys.stdout.encoding
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(1, "w", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",  # a name that the encoding lacks is no error
        line_buffering=os.isatty(1),
    )


def _is_screen(number: int) -> bool:
    with suppress(OSError):
        return os.isatty(number) and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    return False


def _write(text: str) -> None:
    with suppress(OSError, ValueError):  # ValueError: it was closed
        sys.stderr.flush()
    with suppress(OSError):
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        left = text.encode(encoding, "backslashreplace")
        while left:  # a pipe may take a part
            left = left[os.write(2, left) :]
