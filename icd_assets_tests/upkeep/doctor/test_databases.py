"""SQLite files that are whole, torn, foreign, locked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from icd_assets.upkeep.doctor import databases as module
from icd_assets.upkeep.doctor.databases import databases, half_written


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, body TEXT)")
        connection.executemany("INSERT INTO runs (body) VALUES (?)", [("x" * 500,)] * 200)
    return path


def test_whole(database: Path) -> None:
    (finding,) = databases("history", [database], "restore")
    assert (finding.level, finding.found) == ("ok", "whole and writable: runs.db")


def test_torn_pages(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[8192:12288] = b"\xff" * 4096
    database.write_bytes(content)
    (finding,) = databases("history", [database], "restore it")
    assert finding.level == "problem"
    assert f"{database} is damaged" in finding.found
    assert finding.todo == "restore it"


def test_truncated_and_foreign(database: Path, tmp_path: Path) -> None:
    database.write_bytes(database.read_bytes()[:6000])
    foreign = tmp_path / "index.db"
    foreign.write_bytes(b"this is no database" * 100)
    found = list(databases("history", [database, foreign], "restore it"))
    assert [finding.level for finding in found] == ["problem", "problem"]


def test_locked_by_another(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        (finding,) = databases("history", [database], "restore it")
    assert finding.level == "problem"
    assert "runs.db): locked by another program" in finding.found


def test_shards_that_begin_like_none(database: Path, tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"SQLite form")
    (tmp_path / "b.db").write_bytes(b"")
    assert half_written(tmp_path) == [tmp_path / "a.db"]
