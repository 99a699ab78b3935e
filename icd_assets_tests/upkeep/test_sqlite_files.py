"""Whether a SQLite file is whole, also while others write it, and where nobody may."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from icd_assets.upkeep import sqlite_files


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a b?.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE answers (text)")
        connection.executemany("INSERT INTO answers VALUES (?)", [("x" * 500,)] * 50)
    return path


def test_whole_then_damaged(database: Path) -> None:
    assert sqlite_files.damage(database) is None
    content = bytearray(database.read_bytes())
    content[4096:4200] = bytes(104)
    database.write_bytes(content)
    assert sqlite_files.damage(database) is not None
    database.write_bytes(b"no database at all" * 100)
    assert sqlite_files.damage(database) == "file is not a database"


def test_a_file_in_use_is_not_read_around_its_lock(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_files, "WAIT_SECONDS", 0.05)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sqlite_files.damage(database)
