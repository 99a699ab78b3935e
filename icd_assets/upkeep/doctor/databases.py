"""SQLite files: whole, and open to be written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from icd_assets.runtime.database_errors import explain_sqlite
from icd_assets.runtime.finding import Finding
from icd_assets.runtime.plain_file import open_plain
from icd_assets.upkeep.sqlite_files import WAIT_SECONDS, address, damage

_MAGIC = b"SQLite format 3\x00"


def databases(subject: str, paths: Iterable[Path], todo: str) -> Iterator[Finding]:
    """One finding per bad file, or one for all; ``todo`` is for a damaged file."""
    good = []
    for path in paths:
        if (problem := _damage(path)) is not None:
            yield Finding(subject, "problem", f"{path} is damaged ({problem})", todo)
        elif (hindrance := _hindrance(path)) is not None:
            yield Finding(subject, "problem", *hindrance)
        else:
            good.append(path.name)
    if good:
        yield Finding(subject, "ok", f"whole and writable: {', '.join(good)}")


def half_written(folder: Path) -> list[Path]:
    """Files named ``*.db`` that begin like no SQLite file; an empty one is a file not begun."""
    found = []
    for path in sorted(folder.rglob("*.db")):
        try:
            with open_plain(path) as file:
                start = file.read(len(_MAGIC))
        except FileNotFoundError:  # gone meanwhile
            continue
        except OSError:  # a pipe, a folder
            start = b"?"
        if start and start != _MAGIC:
            found.append(path)
    return found


def _damage(path: Path) -> str | None:
    try:
        return damage(path)
    except sqlite3.OperationalError:
        return None  # not readable now: the attempt to write finds out what hinders


def _hindrance(path: Path) -> tuple[str, str] | None:
    """What hinders, and what to do about it."""
    try:
        with closing(
            sqlite3.connect(address(path, "rw"), uri=True, timeout=WAIT_SECONDS, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if (explained := explain_sqlite(error, "the database", path)) is not None:
            return str(explained).rstrip("."), ""
        return f"{path} cannot be written ({error})", "end the process that holds it, or fix its permissions"
    return None
