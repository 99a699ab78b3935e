"""What the machine does to us is one sentence; what we did ourselves stays an error."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from icd_assets.runtime.machine_errors import explain


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: / has"),
        (OSError(errno.EDQUOT, "Quota exceeded", "/nowhere/rl.json"), "the disk is full: / has"),
        (OSError(errno.EIO, "Input/output error", "/results/rl.json"), "/results/rl.json: the disk failed"),
        (
            OSError(errno.EACCES, "Permission denied", "/results/x.lock"),
            "/results/x.lock may not be read or written",
        ),
        (OSError(errno.EROFS, "Read-only file system", "/results/x"), "/results/x may not be read or written"),
        (MemoryError(), "the memory does not suffice"),
        (OutOfMemoryError("CUDA out of memory"), "the memory does not suffice"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "the memory does not suffice"),
    ],
)
def test_one_sentence(error: Exception, sentence: str) -> None:
    found = explain(error, Path("/"))
    assert found is not None
    assert str(found).startswith(sentence)
    assert str(found).endswith("then run again: it goes on from where it was.")


def test_the_cause_counts_however_it_is_wrapped() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise ValueError("could not write") from error
    except ValueError as wrapped:
        assert "the disk is full" in str(explain(wrapped, Path("/")))


def test_a_full_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA max_page_count = 3")
        with pytest.raises(sqlite3.OperationalError) as full:
            connection.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    connection.close()
    assert "the disk is full" in str(explain(full.value, tmp_path))


@pytest.mark.parametrize("error", [ValueError("no"), OSError(errno.ENOENT, "gone"), RuntimeError("shape")])
def test_everything_else_is_an_error(error: Exception) -> None:
    assert explain(error, Path("/")) is None
