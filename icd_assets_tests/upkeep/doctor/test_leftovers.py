"""What killed writers left: fixed under every lock, never while somebody writes, and never a user's file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from icd_assets.store.journal import JOURNAL
from icd_assets.store.names import temporary
from icd_assets.store.store import Store
from icd_assets.upkeep.doctor.leftovers import answers, leftovers
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets_tests.store.test_store import commit

ABSENT = 4_194_305  # above the kernel's largest process number


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def manifest(store: Store) -> Path:
    """A commit that was killed after all its files were in place."""
    path = store.root / "demo" / "data.json.manifest.json"
    commit(store, path, "one")
    path.replace(path.with_name(path.name + ".pending"))
    return path


def levels(store: Store, *, fix: bool) -> list[str]:
    return [finding.level for finding in leftovers(store, fix=fix)]


def test_nothing_is_found_where_nothing_is(store: Store) -> None:
    assert levels(store, fix=True) == ["ok"]
    assert not store.root.exists()


def test_a_killed_commit_is_ended(store: Store, manifest: Path) -> None:
    assert levels(store, fix=False) == ["warning"]
    assert not manifest.exists()
    (finding,) = leftovers(store, fix=True)
    assert (finding.level, finding.found) == ("fixed", f"killed commit ended: {manifest}")
    found = store.read(manifest)
    assert found is not None
    assert store.files(found)[0].read_text() == "one"
    assert levels(store, fix=True) == ["ok"]


def test_a_commit_whose_files_are_lost_is_undone_and_the_users_file_stays(store: Store, manifest: Path) -> None:
    data = manifest.parent / "data.json"
    data.write_text("a year of work")
    (finding,) = leftovers(store, fix=True)
    assert finding.found == f"killed commit undone: {manifest}"
    assert data.read_text() == "a year of work"
    assert not manifest.exists()


def test_while_somebody_writes_nothing_is_mended(store: Store, manifest: Path) -> None:
    with store.lock(store.root / "other.manifest.json"):
        (finding,) = leftovers(store, fix=True)
    assert finding.level == "ok"
    assert "a run is at work" in finding.found
    assert not manifest.exists()


def test_a_broken_pending_manifest_is_named_not_removed(store: Store, manifest: Path) -> None:
    from icd_assets.runtime.finding import findings

    pending = manifest.with_name(manifest.name + ".pending")
    pending.write_text("{")
    (finding,) = findings("artifacts", lambda: leftovers(store, fix=True))
    assert finding.level == "problem"
    assert str(pending) in finding.found
    assert pending.exists()


def test_staged_files_of_the_dead_go_and_what_a_killed_step_finished_stays(store: Store) -> None:
    dead, unfinished = (store.private / "staging" / name for name in ("rl_data-a", "rce_checkpoints-b"))
    for folder in (dead, unfinished):
        folder.mkdir(parents=True)
        (folder / "rows.json").write_text("x" * 2048)
    (unfinished / JOURNAL).write_text("{}")
    kept, fixed = leftovers(store, fix=True)
    assert kept.found.startswith("1 unfinished steps")
    assert "1 staging folders (2.0 KiB)" in fixed.found
    assert not dead.exists()
    assert unfinished.exists()


@pytest.mark.parametrize(
    ("name", "age", "stays"),
    [
        (f".digests.json.{ABSENT}.tmp", 7200, False),
        (f".a: b.json.{ABSENT}-139.tmp", 7200, False),
        (f".digests.json.{ABSENT}-139-HERE.tmp", 0, False),  # HERE: what names of processes of this machine end in
        (f".digests.json.{ABSENT}.tmp", 0, True),  # of another container perhaps, and in use
        (".digests.json.OWN.tmp", 7200, True),  # OWN: the number of a process that lives
        (".mine.tmp", 7200, True),
    ],
)
def test_temporary_files(store: Store, name: str, age: int, stays: bool) -> None:
    here = temporary(store.root).name.removesuffix(".tmp").rpartition("-")[2]
    path = store.root / "demo" / name.replace("OWN", str(os.getpid())).replace("HERE", here)
    path.parent.mkdir(parents=True)
    path.write_text("x")
    os.utime(path, (time.time() - age,) * 2)
    list(leftovers(store, fix=True))
    assert path.exists() == stays


def test_answers(store: Store) -> None:
    (finding,) = answers(store)
    assert (finding.level, finding.found) == ("ok", "none yet")
    path = store.private / "answers.sqlite"
    with AnswerStore(path) as kept:
        kept.add({bytes([n] * 32): "yes" * 50 for n in range(200)})
    (finding,) = answers(store)
    assert finding.level == "ok"
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)
    (finding,) = answers(store)
    assert finding.level == "problem"
    assert "answers are collected anew" in finding.todo
    assert path.exists()
