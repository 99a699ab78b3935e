"""Whole or not there, also when two write at once or the disk is full."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from icd_assets.store.atomic import remove_torn, write_atomic
from icd_assets.store.digests import DigestCache
from icd_assets_tests.programs import program
from icd_assets_tests.store.test_names import ABSENT
from icd_assets_tests.worlds.workplace import ROOT


def test_two_processes_write_digests_at_once(tmp_path: Path) -> None:
    writers = [subprocess.Popen(program("write_digests", str(tmp_path), name), cwd=ROOT) for name in "ab"]
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "digests.json").exists():
            json.loads((tmp_path / "digests.json").read_bytes())  # whole at every moment
    assert [writer.returncode for writer in writers] == [0, 0]
    assert not list(tmp_path.glob(".*"))


def test_digests_are_found_though_they_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("icd_assets.store.digests.write_atomic", full)
    (tmp_path / "a").write_text("x")
    assert DigestCache(tmp_path / "digests.json").file(tmp_path / "a").startswith("2d711642")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "leaderboard.json"
    write_atomic(path, b"old")

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("leaderboard.json", b"old")]


def test_the_next_write_removes_what_a_killed_one_left_and_no_living_ones(tmp_path: Path) -> None:
    cache = tmp_path / "digests.json"
    writers = [subprocess.Popen(program("write_for_ever", str(cache)), cwd=ROOT) for _ in "ab"]
    try:
        deadline = time.monotonic() + 60
        while len(torn := list(tmp_path.glob(".digests.json.*.tmp"))) < 2:
            assert time.monotonic() < deadline and all(writer.poll() is None for writer in writers)
            time.sleep(0.05)
        writers[0].kill()
        writers[0].wait()
        others = [f".digests.json.{ABSENT}-5-fffffff.tmp", f".digests.json.{ABSENT}.tmp", ".digests.json.mine.tmp"]
        others += [f".digests.json.bak.{ABSENT}-5.tmp"]
        for name in others:
            (tmp_path / name).touch()
        old = tmp_path / f".digests.json.{ABSENT}-6-fffffff.tmp"
        old.touch()
        os.utime(old, (time.time() - 7200,) * 2)
        (tmp_path / "a").write_text("x")
        DigestCache(cache).file(tmp_path / "a")
        (living,) = (path.name for path in torn if f".{writers[1].pid}-" in path.name)
        assert {path.name for path in tmp_path.iterdir()} == {*others, living, "a", cache.name}
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a[1].json.77-5.tmp", "a[1].json", ".ab.json.77-5.tmp"):
        (tmp_path / name).touch()
    remove_torn(tmp_path / "a[1].json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ab.json.77-5.tmp", "a[1].json"]
