"""Image files that were decoded and found sound, remembered by path, size and time of change."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from icd_assets.runtime.database_errors import require_tables_alone

_WAIT_SECONDS = 30.0
_KEYS_PER_SELECT = 500


class Stamp(NamedTuple):
    """What a file's state is known by, and its picture's upright dimensions; 0 in entries that predate them."""

    size: int
    mtime_ns: int
    width: int = 0
    height: int = 0

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        return cls(status.st_size, status.st_mtime_ns)

    def same_file(self, other: Stamp) -> bool:
        return self[:2] == other[:2]


class VerifiedImages:
    """One SQLite file for all data sets; several processes may use it at once.

    It is a cache: losing it costs time, never truth. One that cannot be used is removed, and this run looks at
    every image. With ``path=None`` nothing is remembered; ``read_only`` adds nothing to it.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self._path = None if read_only and path is not None and not path.is_file() else path
        self._read_only = read_only
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> VerifiedImages:
        if self._path is not None:
            if not self._read_only:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._or_forget():
                self._connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS)
                require_tables_alone(self._connection)
                if not self._read_only:
                    self._prepare(self._connection)
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
                    "SELECT path, size, mtime_ns, width, height FROM sound_images "
                    f"WHERE path IN ({','.join('?' * len(part))})",
                    part,
                )
                found |= {keys[key]: Stamp(*stamp) for key, *stamp in rows}
        return found

    def add(self, stamps: Mapping[Path, Stamp]) -> None:
        rows = [(_key(path), *stamp) for path, stamp in stamps.items()]
        with self._or_forget():
            if self._connection is not None and rows and not self._read_only:
                with self._connection:
                    self._connection.executemany(
                        "INSERT OR REPLACE INTO sound_images VALUES (?, ?, ?, ?, ?)", rows
                    )

    @staticmethod
    def _prepare(connection: sqlite3.Connection) -> None:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS sound_images (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, "
            "width INTEGER NOT NULL DEFAULT 0, height INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )
        columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(sound_images)")}
        for column in ("width", "height"):
            if column not in columns:  # a file of before: what it knows stays
                connection.execute(f"ALTER TABLE sound_images ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")

    @contextmanager
    def _or_forget(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error:
            self.__exit__()
            assert self._path is not None
            if not self._read_only:
                with contextlib.suppress(OSError):
                    self._path.unlink()


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())
