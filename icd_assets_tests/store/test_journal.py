"""A journal is believed only if every file is what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.store.journal import JOURNAL, Journal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state.pt").write_bytes(b"weights")
    Journal(tmp_path).write({"history": [{"loss": 0.1 + 0.2}]}, [tmp_path / "state.pt"])
    return tmp_path


def test_what_was_written_is_read(folder: Path) -> None:
    assert Journal(folder).read() == {"history": [{"loss": 0.1 + 0.2}]}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"facts": {}}', b'{"facts": 1, "files": {}}', b"\xff"]
)
def test_a_torn_journal_says_nothing(folder: Path, content: bytes) -> None:
    (folder / JOURNAL).write_bytes(content)
    assert Journal(folder).read() is None


def test_a_rotted_or_missing_file_voids_it(folder: Path) -> None:
    (folder / "state.pt").write_bytes(b"weightz")
    assert Journal(folder).read() is None
    (folder / "state.pt").unlink()
    assert Journal(folder).read() is None


def test_a_file_once_written_down_is_not_taken_as_it_is_now(folder: Path) -> None:
    journal = Journal(folder)
    facts = journal.read()
    assert facts is not None
    (folder / "state.pt").write_bytes(b"changed")
    journal.write(facts, [folder / "state.pt"])
    assert Journal(folder).read() is None


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert Journal(tmp_path).read() is None
