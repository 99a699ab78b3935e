"""An error of a database as one sentence. SQLite names it by a number, PostgreSQL's drivers by a text alone."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.disk_errors import (
    GOES_ON,
    disk_failed,
    disk_full,
    file_limit,
    file_too_large,
    is_full,
    no_locks,
    unwritable,
)
from icd_assets.runtime.foreign import brief, harmless, printable

_RESTORE = "restore it from a backup or move it away"
_OF_DAGSTER = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")  # in its home
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")


def explain_sqlite(error: sqlite3.Error, name: str, path: Path) -> UserError | None:
    """None for an error of the statement, which is a bug.

    name: what the database is to the user. path: its file, or a folder that it lies in.
    """
    shown = f"{name} ({printable(str(path))})"
    whole: int = getattr(error, "sqlite_errorcode", 0)
    code, text = whole & 0xFF, str(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or "is locked" in text:
        return UserError(f"{shown}: locked by another program; wait for it or end it, {GOES_ON}.")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL) and file_limit() is not None:
        return file_too_large(path)
    if code == sqlite3.SQLITE_FULL:
        return disk_full(path)
    if code == sqlite3.SQLITE_IOERR:  # so a full disk shows where SQLite maps memory, and a file that was removed
        return disk_full(path) if is_full(path) else _unwritable(path) or disk_failed(path)
    if whole == sqlite3.SQLITE_READONLY_DBMOVED:
        return UserError(f"{shown}: its file was removed or moved while it was in use; put it back or run again.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        if code == sqlite3.SQLITE_CANTOPEN and is_full(path):
            return disk_full(path)
        what = "cannot be opened" if code == sqlite3.SQLITE_CANTOPEN else "may not be written"
        seen = _unwritable(path)
        return seen or UserError(f"{shown}: it {what}; see that its file is there and may be written, {GOES_ON}.")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return UserError(f"{shown}: damaged ({text}); {_RESTORE}, {GOES_ON}.")
    if code in (sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS):
        return no_locks(path)
    if "no such table" in text or "no such column" in text:
        return UserError(
            f"{shown}: its tables are not there ({text}), as after a removal or of another version; {_RESTORE}, "
            f"{GOES_ON}."
        )
    return None


def _unwritable(path: Path) -> UserError | None:
    files = [file for name in _OF_DAGSTER if (file := path / name).is_file()]
    return next((seen for one in (path, *files) if (seen := unwritable(one)) is not None), None)


def explain_postgres(text: str) -> UserError:
    """Its text is the one thing that says whether a server, a password or a table is missing."""
    first = next((line for line in text.splitlines() if line.strip()), "no reason given")
    reason = harmless(_PASSWORD.sub(r"\1:…@", " ".join(first.split())[:300]).rstrip("."))
    return UserError(
        f"Dagster's records do not open: PostgreSQL does not serve them ({reason}); start it, or fix its entry in "
        f"dagster.yaml, {GOES_ON}."
    )


def require_tables_alone(connection: sqlite3.Connection, schema: str = "main") -> None:
    """A ``sqlite3.DatabaseError`` for a file with views or triggers, which ours have none of: a query of a view
    may have no end, and a trigger acts on what is stored. schema: ours, or an attached file's."""
    listed = f"SELECT name, type FROM {schema}.sqlite_master WHERE type IN ('view', 'trigger')"
    found = connection.execute(listed).fetchone()
    if found is not None:
        raise sqlite3.DatabaseError(f"it has a {found[1]} {brief(found[0])}")
