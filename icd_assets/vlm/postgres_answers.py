"""Answers that a model gave, kept in a table of PostgreSQL: one store for all machines that reach it.

The driver is psycopg2, which Dagster's own storage brings along (the extra ``postgres``). Texts are kept as the
bytes of their UTF-8: PostgreSQL's text takes no NUL, and depends on the database's encoding.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import harmless
from icd_assets.runtime.secrets import redacted
from icd_assets.vlm.answers import VARIABLE, Answers, Row, rows_of
from icd_assets.vlm.backend import Likelihood

if TYPE_CHECKING:
    import psycopg2.extensions

_TABLE = "icd_assets_answers_1"  # 1: the version of its columns
_COLUMNS = {"key": "bytea", "text": "bytea", "logprob": "double precision", "tokens": "integer"}
_CREATE = (
    f"CREATE TABLE IF NOT EXISTS {_TABLE} "
    "(key bytea PRIMARY KEY, text bytea, logprob double precision, tokens integer)"
)
_LOCK = 0x49434442  # two who create the table at once: "IF NOT EXISTS" alone fails for one of them
_ROWS = 10_000  # of a page
_PATIENCE_SECONDS = 60.0  # as long as SQLite's store waits for a lock
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0
_CONNECT = {"connect_timeout": 10, "application_name": "icd-assets", "keepalives_idle": 30}

Result = TypeVar("Result")


class PostgresAnswers(Answers):
    """The table of the database ``url``: ``postgresql://USER@HOST:PORT/DATABASE``.

    The password comes from libpq's places (``PGPASSWORD``, ``~/.pgpass``) or from the address. A lost connection
    is made again for a minute: what is asked and added is the same however often it is tried.
    """

    def __init__(self, url: str) -> None:
        self._url, self._secrets = url, _passwords(url)
        self.name = f"the answers in PostgreSQL at {_place(url)}"
        self._driver = _driver()
        self._connection: psycopg2.extensions.connection | None = None
        try:
            self._connected()
        except self._driver.Error as error:
            raise self._explained(error) from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def __len__(self) -> int:
        count: int = self._tried(lambda cursor: self._all(cursor, f"SELECT count(*) FROM {_TABLE}"))[0][0]
        return count

    def add(self, answers: Mapping[bytes, str | Likelihood]) -> None:
        # In the order of their keys: two who add the same keys in different orders would wait for each other.
        rows = sorted((_as_sent(row) for row in rows_of(answers)), key=lambda row: row[0])
        if rows:
            sql = f"INSERT INTO {_TABLE} VALUES %s ON CONFLICT DO NOTHING"
            template = "(%s, %s, %s::float8, %s)"
            self._tried(lambda cursor: self._values(cursor, sql, rows, template=template, page_size=len(rows)))

    def pages(self) -> Iterator[list[Row]]:
        after: bytes | None = None
        while True:
            where, values = ("", ()) if after is None else ("WHERE key > %s", (after,))
            sql = f"SELECT key, text, logprob, tokens FROM {_TABLE} {where} ORDER BY key LIMIT {_ROWS}"
            page = self._rows(sql, values)
            if page:
                yield page
                after = page[-1][0]
            if len(page) < _ROWS:
                return

    def _found(self, keys: Sequence[bytes]) -> list[Row]:
        sql = f"SELECT key, text, logprob, tokens FROM {_TABLE} WHERE key = ANY(%s)"
        return self._rows(sql, ([bytes(key) for key in keys],)) if keys else []

    def _rows(self, sql: str, values: Sequence[object]) -> list[Row]:
        return [self._as_kept(row) for row in self._tried(lambda cursor: self._all(cursor, sql, values))]

    def _as_kept(self, row: tuple[Any, ...]) -> Row:
        key, text, logprob, tokens = row
        try:
            return bytes(key), None if text is None else bytes(text).decode(), logprob, tokens
        except UnicodeDecodeError:
            raise self._damaged("an entry has a text that is not UTF-8") from None

    def _damaged(self, what: str) -> UserError:
        return UserError(
            f"{self.name} are damaged ({what}); restore the table {_TABLE} from a backup or rename it, then "
            "answers are collected anew."
        )

    # ---- the connection ----------------------------------------------------------------------------

    def _tried(self, ask: Callable[[Any], Result]) -> Result:
        """``ask`` with a cursor, in a transaction of its own; again where the connection is lost."""
        pause, end = _PAUSE_SECONDS, time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                with self._connected() as connection, connection.cursor() as cursor:
                    return ask(cursor)
            except self._driver.Error as error:
                if not self._is_lost(error) or time.monotonic() + pause > end:
                    raise self._explained(error) from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _is_lost(self, error: Exception) -> bool:
        """The connection, or the server is not there now: no error of the statement, or of the account."""
        lost = self._connection is None or bool(self._connection.closed)
        return lost and isinstance(error, self._driver.OperationalError | self._driver.InterfaceError)

    def _connected(self) -> psycopg2.extensions.connection:
        """The connection, made again if it is closed."""
        if self._connection is None or self._connection.closed:
            self._connection = None
            connection = self._driver.connect(self._url, **_CONNECT)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: psycopg2.extensions.connection) -> None:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET extra_float_digits = 3")  # before PostgreSQL 12 a float was cut otherwise
            if self._columns(cursor) is None:
                cursor.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
                cursor.execute(_CREATE)
            if (found := self._columns(cursor)) != _COLUMNS:
                raise UserError(
                    f"{self.name}: the table {_TABLE} has other columns ({found}); rename it, or name another "
                    f"database in {VARIABLE}."
                )

    def _columns(self, cursor: Any) -> dict[str, str] | None:
        sql = (
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            f"WHERE attrelid = to_regclass('{_TABLE}') AND attnum > 0 AND NOT attisdropped"
        )
        return dict(self._all(cursor, sql)) or None

    @staticmethod
    def _all(cursor: Any, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor.execute(sql, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    @staticmethod
    def _values(cursor: Any, sql: str, rows: Sequence[tuple[Any, ...]], **how: Any) -> None:
        from psycopg2.extras import execute_values

        execute_values(cursor, sql, rows, **how)

    def _explained(self, error: Exception) -> UserError:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        reason = harmless(redacted(" ".join(first.split())[:300], self._secrets)).rstrip(".")
        return UserError(
            f"{self.name} cannot be used ({reason}); start the server, or fix ICD_ANSWERS or its password, then "
            "run again: it goes on from where it was."
        )


def _as_sent(row: Row) -> tuple[Any, ...]:
    """A float as its shortest digits: as a number of SQL it would pass through ``numeric``. SQLite keeps no −0."""
    key, text, logprob, tokens = row
    kept = None if text is None else text.encode()
    return bytes(key), kept, None if logprob is None else repr(logprob + 0.0), tokens


def _driver() -> Any:
    try:
        import psycopg2
    except ImportError:
        raise UserError(
            f"answers in PostgreSQL ({VARIABLE}) need the package psycopg2; pip install 'icd-assets[postgres]'."
        ) from None
    return psycopg2


def _place(url: str) -> str:
    """``HOST:PORT/DATABASE``; raises ``UserError`` for no address of one, and never shows it."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        parts, port = None, 0
    known = parts is not None and parts.scheme in ("postgresql", "postgres") and url.isprintable()
    if parts is None or not known or not re.fullmatch("/[^/@]+", parts.path):  # @: of a password with a plain /
        raise UserError(
            f"{VARIABLE} is no address of a database; set it to postgresql://USER@HOST:PORT/DATABASE, or leave it "
            "out to keep answers in a file."
        )
    return f"{parts.hostname or 'the local socket'}:{port}{harmless(parts.path)}"


def _passwords(url: str) -> list[str]:
    """Of the address, as it stands there and as it is meant."""
    with suppress(ValueError):
        parts = urlsplit(url)
        written = [parts.password or "", *dict(re.findall(r"[?&](password)=([^&]*)", url)).values()]
        return [*written, *map(unquote, written)]
    return []
