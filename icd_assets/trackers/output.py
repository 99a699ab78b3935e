"""What the libraries of trackers print and log: no key is in it, whoever reads the terminal or Dagster's files."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from icd_assets.runtime.foreign import harmless
from icd_assets.runtime.secrets import redacted
from icd_assets.trackers.stored_keys import stored_keys


def hidden(text: str) -> str:
    """``text`` without the keys of the environment, and without those that a tracker's log-in has left."""
    return redacted(text, stored_keys())


@contextmanager
def without_keys() -> Iterator[None]:
    """What is printed within."""
    with redirect_stdout(_WithoutKeys(sys.stdout)), redirect_stderr(_WithoutKeys(sys.stderr)):
        yield


def hide_keys_in_logs() -> None:
    """From now on, for good and in any thread: these libraries log from threads of their own."""
    if not isinstance(made := logging.getLogRecordFactory(), _Records):
        logging.setLogRecordFactory(_Records(made))


class _WithoutKeys(io.TextIOBase):
    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if self._stream is not None:
            self._stream.write(harmless(hidden(text)))
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def writable(self) -> bool:
        return True


class _Records:
    """Makes the records of every logger."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def __call__(self, *words: Any, **more: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._made(*words, **more)
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - the handler says what is wrong with a record, as ever
            return record
        if (shown := hidden(text)) != text:
            record.msg, record.args = shown, None
        if record.exc_info and record.exc_info[0] is not None:
            text = logging.Formatter().formatException(record.exc_info)
            if (shown := hidden(text)) != text:
                record.exc_text = shown  # what every formatter takes where it is there
        return record
