"""Folders to write to: good ones, a file in the way, a remote file system, too little room."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NamedTuple

import pytest

from icd_assets.experiment.checks import places
from icd_assets.experiment.checks.places import file_system, place, room
from icd_assets.runtime.finding import findings, in_bytes

GIB = 1 << 30


def test_a_good_folder_and_nothing_left_behind(tmp_path: Path) -> None:
    (finding,) = place("results", tmp_path / "new" / "results")
    assert (finding.level, "will be made" in finding.found) == ("ok", True)
    assert list(tmp_path.iterdir()) == []
    (finding,) = place("results", tmp_path)
    assert "will be made" not in finding.found


def test_a_file_in_its_place_or_above_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "results"):
        (finding,) = place("results", folder)
        assert finding.level == "problem"
        assert f"{tmp_path / 'file'} is a file" in finding.found
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc takes no files, not even root's."""
    (finding,) = findings("results", lambda: place("results", Path("/proc/self")))
    assert finding.level == "problem" and "/proc/self" in finding.found


def test_locks_without_effect_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *arguments: None)
    levels = [finding.level for finding in place("results", tmp_path)]
    assert "problem" in levels


@pytest.mark.parametrize(
    ("kind", "level"), [("nfs4", "warning"), ("fuse.sshfs", "warning"), ("ext4", "ok"), ("fuseblk", "ok")]
)
def test_remote_file_systems_are_warned_of(tmp_path: Path, kind: str, level: str) -> None:
    mounts = tmp_path / "mounts"
    escaped = str(tmp_path).replace(" ", "\\040")
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {escaped} {kind} rw 0 0\n/dev/b /elsewhere xfs rw 0 0\n")
    assert file_system(tmp_path / "a" / "b", mounts) == kind
    (finding,) = place("results", tmp_path, mounts)
    assert finding.level == level
    assert kind in finding.found


def test_a_system_without_mounts_is_unknown(tmp_path: Path) -> None:
    assert file_system(tmp_path, tmp_path / "absent") == "unknown"


class _Usage(NamedTuple):
    free: int


@pytest.mark.parametrize(("free", "level"), [(1.9, "problem"), (3.0, "warning"), (9.0, "ok")])
def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str) -> None:
    monkeypatch.setattr(places.shutil, "disk_usage", lambda path: _Usage(round(free * GIB)))
    (finding,) = room("disk", tmp_path / "new", {"embeddings": GIB, "answers": GIB})
    assert finding.level == level
    assert "2.0 GiB = embeddings 1.0 GiB + answers 1.0 GiB" in finding.found


def test_bytes_are_shown_in_units() -> None:
    assert [in_bytes(n) for n in (0, 1023, 1024, 7.5 * GIB, 5000 * GIB)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "7.5 GiB",
        "4.9 TiB",
    ]


def test_an_error_of_the_system_is_a_problem_not_a_traceback() -> None:
    def check() -> list[object]:
        raise OSError(errno.EROFS, "Read-only file system", "/x")

    (finding,) = findings("home", check)  # type: ignore[arg-type]
    assert (
        finding.found == "/x cannot be written: / is mounted read-only; mount it for writing or name another place"
    )
