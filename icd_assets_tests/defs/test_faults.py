"""A fault of the machine inside a step is the run's failure in one sentence; a bug stays what it is."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import dagster as dg
import pytest

from icd_assets.defs.assets.step_asset import failing_in_words
from icd_assets.errors import UserError
from icd_assets.store.store import Store


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full: "),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "the memory does not suffice"),
        (RuntimeError("can't start new thread"), "no further process or thread"),
        (sqlite3.OperationalError("database is locked"), "Dagster's records"),
        (Exception("I/O error: No space left on device (os error 28)"), "the disk is full: "),
    ],
)
def test_a_fault_fails_in_words(
    error: Exception, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(dg.Failure) as raised, failing_in_words(lambda: Store(tmp_path), "a cell"):
        raise error
    assert str(raised.value.description).startswith(sentence)


def test_results_that_are_removed_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "results/okvqa").mkdir(parents=True)
    store = Store(tmp_path / "results")
    with pytest.raises(dg.Failure) as raised, failing_in_words(lambda: store, "a cell"):
        shutil.rmtree(store.root)
        (store.root / "okvqa/a.json").write_bytes(b"")
    assert str(raised.value.description) == (
        f"{store.root} is not there any more; if it was removed meanwhile, run again, and what is missing is made "
        "again; else put it back."
    )


def test_a_bug_stays_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), failing_in_words(lambda: Store(tmp_path), "a cell"):
        raise ZeroDivisionError


def test_a_results_root_that_can_be_none_fails_in_words() -> None:
    def opened() -> Store:
        raise UserError("results_root='s3://x' is no path of this machine (s3:); give one, or mount it.")

    with pytest.raises(dg.Failure) as raised, failing_in_words(opened, "a cell"):
        raise AssertionError("not reached")
    assert "is no path of this machine" in str(raised.value.description)
