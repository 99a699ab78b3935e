"""Image files that were decoded and found sound, remembered by path, size and time of change."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

Stamp = tuple[int, int]  # size, mtime_ns

_WAIT_SECONDS = 30.0
_KEYS_PER_SELECT = 500


class VerifiedImages:
    """One SQLite file for all data sets; several processes may use it at once.

    It is a cache: losing it costs time, never truth. One that cannot be used is removed, and this run looks at
    every image. With ``path=None`` nothing is remembered.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> VerifiedImages:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._or_forget():
                self._connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS)
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS sound_images "
                    "(path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER) WITHOUT ROWID"
                )
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def stamps(self, paths: Sequence[Path]) -> dict[Path, Stamp]:
        """What is known of ``paths``."""
        found: dict[Path, Stamp] = {}
        keys = {_key(path): path for path in paths}
        listed = list(keys)
        with self._or_forget():
            for start in range(0, len(listed), _KEYS_PER_SELECT):
                if self._connection is None:
                    break
                part = listed[start : start + _KEYS_PER_SELECT]
                rows = self._connection.execute(
                    f"SELECT path, size, mtime_ns FROM sound_images WHERE path IN ({','.join('?' * len(part))})",
                    part,
                )
                found |= {keys[key]: (size, mtime_ns) for key, size, mtime_ns in rows}
        return found

    def add(self, stamps: Mapping[Path, Stamp]) -> None:
        rows = [(_key(path), *stamp) for path, stamp in stamps.items()]
        with self._or_forget():
            if self._connection is not None and rows:
                with self._connection:
                    self._connection.executemany("INSERT OR REPLACE INTO sound_images VALUES (?, ?, ?)", rows)

    @contextmanager
    def _or_forget(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error:
            self.__exit__()
            assert self._path is not None
            with contextlib.suppress(OSError):
                self._path.unlink()


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())
