"""One holder at a time, waiting is said, and the dead hold nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.experiment.checks.places import place
from icd_assets.runtime import locks
from icd_assets.runtime.finding import findings
from icd_assets.runtime.locks import Holder, held_by, hold, hold_one
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.workplace import ROOT


@contextmanager
def held(path: Path, how: str = "alone") -> Iterator[subprocess.Popen[str]]:
    command = program("hold_lock", str(path), how)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_who_waits_is_told_once_who_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_NOTE_AFTER_SECONDS", 0.2)
    path, notes = tmp_path / "a.lock", list[str]()

    def tell(sentence: str) -> None:
        notes.append(sentence)
        holder.kill()

    with held(path) as holder, hold_one({"rl.json": path}, Holder("mine"), tell) as name:
        assert name == "rl.json"
    (sentence,) = notes
    assert sentence.startswith(
        f"waiting: rl.json is held by rl_data of demo|RandSampler/tiny_vl (process {holder.pid}, run 1a2b3c4d, s"
    )
    assert not path.with_suffix(".json").exists()  # the note goes with the holder


def test_the_first_free_one_is_taken(tmp_path: Path) -> None:
    places = {"a": tmp_path / "a.lock", "b": tmp_path / "b.lock"}
    with held(places["a"]), hold_one(places, Holder()) as name:
        assert name == "b"


def test_the_child_of_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with held(path, "with a child") as holder:
        holder.kill()
        holder.wait()
        began = time.monotonic()
        with hold_one({"a": path}, Holder()):
            assert time.monotonic() - began < 5


def test_a_broken_note_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_NOTE_AFTER_SECONDS", 0.0)
    path, notes = tmp_path / "a.lock", list[str]()
    with held(path) as holder:
        path.with_suffix(".json").write_text("{")

        def tell(sentence: str) -> None:
            notes.append(sentence)
            holder.kill()

        with hold_one({"a": path}, Holder(), tell):
            pass
    assert notes == ["waiting: a is held by a process that has not left its name yet"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands in for them: a lock that is a mere file stays when its holder is killed."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "locks/a.lock"
    words = f"the file system of {path} refuses file locks, .* name a place on a local"
    with pytest.raises(UserError, match=words), hold_one({"a": path}, Holder()):
        pass
    path.parent.mkdir()
    with pytest.raises(UserError, match=words), hold(path):
        pass
    path.parent.rmdir()
    assert held_by(path) is None
    assert list(tmp_path.iterdir()) == []  # nor is anything left of the attempt
    found = findings("results", lambda: place("results", tmp_path))
    assert [(one.level, "refuses file locks" in one.found) for one in found] == [("problem", True)]
