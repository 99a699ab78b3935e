"""Answers of VLMs shared between machines: what one has paid for, none asks again.

On the remote they lie in files of up to a few hundred thousand, each by its own digest, so that pushes never meet.
Which of them are known here, and which answers they hold, is kept in a database beside the answer store; if it is
lost, the remote's files are read once more.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.datasets.parquet_file import opened_parquet
from icd_assets.errors import UserError
from icd_assets.remote import layout
from icd_assets.remote.blobs import fetch
from icd_assets.remote.place import CHUNK, Place
from icd_assets.runtime.database_errors import explain_sqlite, require_tables_alone
from icd_assets.runtime.foreign import brief
from icd_assets.store.atomic import make_folder
from icd_assets.store.store import Store
from icd_assets.vlm.answers import Answers, Row, open_answers, shared_database, there_are
from icd_assets.vlm.backend import Likelihood

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "remote"  # in our own folder
_ROWS = 200_000  # of a file: some tens of megabytes
_KEY = 32  # bytes


class SharedAnswers:
    """The answers of one results root, or of the database that takes their place, and of one remote."""

    def __init__(self, store: Store, remote: Place) -> None:
        self._answers = store.answers
        self._remote = remote
        self._folder = store.caches / FOLDER
        url = shared_database()
        between = remote.address if url is None else f"{remote.address}\n{_without_account(url)}"
        self._known = self._folder / f"{hashlib.sha256(between.encode()).hexdigest()[:16]}.sqlite"

    def push(self) -> int:
        """Put what only this root has; how many that is."""
        if not there_are(self._answers):
            return 0
        pushed = 0
        with self._opened() as known:
            self._learn(known, merge=None)
            for rows in self._only_here(known):
                content = _parquet(rows)
                sha256 = hashlib.sha256(content).hexdigest()
                pieces = (content[start : start + CHUNK] for start in range(0, len(content), CHUNK))
                self._remote.put(layout.answers(sha256), pieces)
                with _transaction(known):
                    known.execute("INSERT OR IGNORE INTO files VALUES (?, 1)", (sha256,))
                    known.executemany("INSERT OR IGNORE INTO keys VALUES (?)", ((row[0],) for row in rows))
                pushed += len(rows)
        return pushed

    def pull(self) -> int:
        """Take what only the remote has; how many that is."""
        with self._opened() as known, open_answers(self._answers) as answers:
            before = len(answers)
            self._learn(known, merge=answers)
            return len(answers) - before

    def only_here(self) -> int:
        """How many answers the remote is not known to have; nothing is fetched for it."""
        if not there_are(self._answers):
            return 0
        with self._opened() as known:
            return sum(map(len, self._only_here(known)))

    def only_there(self) -> int:
        """How many files of answers were never read here."""
        with self._opened() as known:
            return len(self._unread(known, merged=True))

    def _learn(self, known: sqlite3.Connection, merge: Answers | None) -> None:
        for sha256, size in self._unread(known, merged=merge is not None).items():
            path = fetch(self._remote, layout.answers(sha256), sha256, size, self._folder, lambda _: None)
            for rows in _rows(path):
                if merge is not None:
                    merge.add({key: text if text is not None else Likelihood(p, n) for key, text, p, n in rows})
                with _transaction(known):
                    known.executemany("INSERT OR IGNORE INTO keys VALUES (?)", ((row[0],) for row in rows))
            with _transaction(known):
                known.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (sha256, merge is not None))
            path.unlink()

    def _unread(self, known: sqlite3.Connection, *, merged: bool) -> dict[str, int]:
        """Digest → bytes of the remote's files whose keys, or with ``merged`` whose answers, are not here."""
        sql = "SELECT sha256 FROM files" + (" WHERE merged" if merged else "")
        have = {row[0] for row in known.execute(sql)}
        entries = ((layout.sha256_of_answers(one.name), one.size) for one in self._remote.names(layout.ANSWERS))
        return {sha256: size for sha256, size in entries if sha256 is not None and sha256 not in have}

    def _only_here(self, known: sqlite3.Connection) -> Iterator[list[Row]]:
        """What the remote is not known to have, in the order of the keys, ``_ROWS`` at a time."""
        rows: list[Row] = []
        with open_answers(self._answers) as answers:
            for page in answers.pages():
                sql = "SELECT key FROM keys WHERE key BETWEEN ? AND ?"
                there = {row[0] for row in known.execute(sql, (page[0][0], page[-1][0]))}
                rows += [row for row in page if row[0] not in there]
                while len(rows) >= _ROWS:
                    yield rows[:_ROWS]
                    rows = rows[_ROWS:]
        if rows:
            yield rows

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        make_folder(self._folder)
        try:
            with closing(sqlite3.connect(f"{self._known.as_uri()}", uri=True, isolation_level=None)) as known:
                require_tables_alone(known)
                known.execute("PRAGMA journal_mode = WAL")
                known.execute("CREATE TABLE IF NOT EXISTS files (sha256 TEXT PRIMARY KEY, merged INTEGER)")
                known.execute("CREATE TABLE IF NOT EXISTS keys (key BLOB PRIMARY KEY) WITHOUT ROWID")
                yield known
        except sqlite3.OperationalError as error:
            raise explain_sqlite(error, "the record of shared answers", self._known) or UserError(
                f"{self._known} cannot be used ({error}); move it away, and run again."
            ) from None
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self._known} is damaged ({error}); move it away, and run again.") from None


def _without_account(url: str) -> str:
    """What of a database's address says which one it is."""
    return url.rpartition("@")[2].partition("?")[0]


@contextmanager
def _transaction(known: sqlite3.Connection) -> Iterator[None]:
    known.execute("BEGIN IMMEDIATE")
    try:
        yield
        known.execute("COMMIT")
    except BaseException:
        if known.in_transaction:
            known.execute("ROLLBACK")
        raise


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("key", pa.binary(_KEY), nullable=False),
            pa.field("text", pa.string()),
            pa.field("logprob", pa.float64()),
            pa.field("tokens", pa.int32()),
        ]
    )


def _parquet(rows: list[tuple[Any, ...]]) -> bytes:
    """The same rows give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [list(column) for column in zip(*rows, strict=True)]
    schema = _schema()
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, compression="zstd")
    return bytes(sink.getvalue())


def _rows(path: Path) -> Iterator[list[tuple[Any, ...]]]:
    """The answers of a file, some thousands at a time. Raises :class:`UserError` for what is no such file."""
    remedy = "remove it from the remote; the answers in it are asked for again"
    with opened_parquet(path, remedy) as file:
        if not file.schema_arrow.equals(_schema()):
            raise UserError(f"{path} holds no answers of icd_assets; {remedy}.")
        for batch in file.iter_batches(batch_size=1 << 14):
            rows = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
            for _, text, logprob, tokens in rows:
                if (text is None) == (logprob is None) or (logprob is None) != (tokens is None):
                    raise UserError(f"{path} holds {brief((text, logprob, tokens))} as an answer; {remedy}.")
                if logprob is not None and not (-1e9 < logprob <= 0 and tokens >= 1):
                    raise UserError(f"{path} holds the log-probability {logprob}; {remedy}.")
            yield rows
