"""SQLite files: whole, and open to be written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from icd_assets.runtime.finding import Finding

_MAGIC = b"SQLite format 3\x00"
_WAIT_SECONDS = 2.0


def databases(subject: str, paths: Iterable[Path], todo: str) -> Iterator[Finding]:
    """One finding per bad file, or one for all; ``todo`` is for a damaged file."""
    good = []
    for path in paths:
        if (damage := _damage(path)) is not None:
            yield Finding(subject, "problem", f"{path} is damaged ({damage})", todo)
        elif (hindrance := _hindrance(path)) is not None:
            yield Finding(
                subject,
                "problem",
                f"{path} cannot be written ({hindrance})",
                "end the process that holds it, or fix its permissions",
            )
        else:
            good.append(path.name)
    if good:
        yield Finding(subject, "ok", f"whole and writable: {', '.join(good)}")


def half_written(folder: Path) -> list[Path]:
    """Files named ``*.db`` that begin like no SQLite file; an empty one is a file not begun."""
    found = []
    for path in sorted(folder.rglob("*.db")):
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
        if start and start != _MAGIC:
            found.append(path)
    return found


def _damage(path: Path) -> str | None:
    try:
        with _connection(path, "ro") as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return None  # not readable now: what hinders is said by the attempt to write
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if verdict == "ok" else str(verdict)


def _hindrance(path: Path) -> str | None:
    try:
        with _connection(path, "rw") as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return str(error)
    return None


@contextmanager
def _connection(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    address = f"file:{quote(str(path))}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()
