"""Answers that a model gave, kept in one SQLite file."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.database_errors import explain_sqlite, require_tables_alone
from icd_assets.store.atomic import fsync
from icd_assets.vlm.answers import Answers, Row, rows_of
from icd_assets.vlm.backend import Likelihood

_APPLICATION = 0x49434441  # "ICDA": marks the file as ours
_VERSION = 1
_KEYS_PER_SELECT = 500
_ROWS = 10_000  # of a page
_WAIT_SECONDS = 60.0
_SYNC_EVERY_SECONDS = 1.0


class AnswerStore(Answers):
    """One SQLite file (WAL). Several processes may read and write it at once; it is never deleted by us.

    Raises ``UserError`` if the file is damaged, foreign, locked for a minute, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"the answer store {path}"
        self._synced = -math.inf
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        try:
            self._open()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def __len__(self) -> int:
        with self._explained():
            count: int = self._connection.execute("SELECT count(*) FROM answers").fetchone()[0]
        return count

    def add(self, answers: Mapping[bytes, str | Likelihood]) -> None:
        with self._explained(), self._transaction():
            self._connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", rows_of(answers))
        self._sync()

    def pages(self) -> Iterator[list[Row]]:
        after = b""  # no key is empty
        while True:
            sql = f"SELECT key, text, logprob, tokens FROM answers WHERE key > ? ORDER BY key LIMIT {_ROWS}"
            with self._explained():
                page = self._connection.execute(sql, (after,)).fetchall()
            if page:
                yield page
                after = page[-1][0]
            if len(page) < _ROWS:
                return

    def _sync(self) -> None:
        """Once a second: a killed process loses nothing, but a power cut what is not on the disk. SQLite's own
        ``synchronous = FULL`` would wait for the disk after each batch."""
        now = time.monotonic()
        if now - self._synced >= _SYNC_EVERY_SECONDS:
            self._synced = now
            real = self.path.resolve()  # SQLite's log lies beside the file that a link leads to
            fsync(real.with_name(f"{real.name}-wal"))

    def _open(self) -> None:
        with self._explained():
            require_tables_alone(self._connection)
            with self._transaction():
                if self._pragma("application_id") == 0 and not self._tables():
                    self._connection.execute(
                        "CREATE TABLE answers (key BLOB PRIMARY KEY, text TEXT, logprob REAL, "
                        "tokens INTEGER) WITHOUT ROWID"
                    )
                    self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                    self._connection.execute(f"PRAGMA user_version = {_VERSION}")
                if self._pragma("application_id") != _APPLICATION or self._pragma("user_version") != _VERSION:
                    raise UserError(
                        f"{self.path} is an SQLite file, but no answer store of this version; "
                        "move it away, then answers are collected anew."
                    )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def _tables(self) -> int:
        count: int = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return count

    def _found(self, keys: Sequence[bytes]) -> Iterator[Row]:
        for start in range(0, len(keys), _KEYS_PER_SELECT):
            part = keys[start : start + _KEYS_PER_SELECT]
            marks = ",".join("?" * len(part))
            with self._explained():
                yield from self._connection.execute(
                    f"SELECT key, text, logprob, tokens FROM answers WHERE key IN ({marks})", part
                ).fetchall()

    def _damaged(self, what: str) -> UserError:
        return UserError(
            f"the answer store {self.path} is damaged ({what}); restore it from a backup or move it away, "
            "then answers are collected anew."
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # after a full disk SQLite has rolled back itself
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors as one sentence to the user."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise explain_sqlite(error, "the answer store", self.path) or UserError(
                f"the answer store {self.path} cannot be used ({error}); free the disk, fix its permissions "
                "or end the process that locks it, then run again."
            ) from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from None
