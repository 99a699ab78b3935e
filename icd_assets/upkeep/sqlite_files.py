"""Reading a SQLite file through: is it whole?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from icd_assets.runtime.plain_file import in_words, require_plain

WAIT_SECONDS = 2.0  # for a writer
_IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def address(path: Path, mode: str) -> str:
    """For ``sqlite3.connect(…, uri=True)``; ``mode`` as SQLite names it: ro, rw."""
    return f"file:{quote(str(path))}?mode={mode}"


def damage(path: Path) -> str | None:
    """What SQLite finds wrong with the file, None if nothing.

    Raises ``sqlite3.OperationalError`` where it cannot be read now. In a folder that may only be read SQLite
    cannot make the files that it shares with writers; there are none then, unless the log of one lies there.
    """
    try:
        require_plain(path)  # SQLite would wait for a pipe
    except FileNotFoundError:
        pass
    except OSError as error:
        return in_words(error)
    try:
        try:
            verdict = _quick_check(address(path, "ro"))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in _IN_USE or path.with_name(f"{path.name}-wal").exists():
                raise
            verdict = _quick_check(f"{address(path, 'ro')}&immutable=1")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if verdict == "ok" else verdict


def _quick_check(uri: str) -> str:
    with closing(sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS)) as connection:
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
