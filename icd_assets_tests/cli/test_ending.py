"""A signal ends a command in one sentence, wherever it falls; a run of Dagster's records its end first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from icd_assets_tests.programs import program
from icd_assets_tests.worlds.workplace import ROOT

SENTENCE = "icd-assets: interrupted; what is complete is kept, and the same command goes on from there\n"


@pytest.mark.parametrize(
    ("case", "printed"),
    [
        ("at_once", ""),
        ("unwound", "cleaned\n"),
        ("twice", ""),
        ("on_the_way", ""),
        ("dropped", "went on\n"),
        ("closed", ""),
        ("closed_in_a_run", "cleaned\n"),
        ("closed_in_the_background", "cleaned\n"),
        ("imported", ""),
        ("ignored_in_imports", ""),
    ],
)
def test_one_sentence_and_130(case: str, printed: str) -> None:
    ended = subprocess.run(program("ended_by_signal", case), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, printed, SENTENCE)


def test_what_a_shell_put_into_the_background_goes_on() -> None:
    ended = subprocess.run(program("ended_by_signal", "ignored"), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "went on\n", "")


def ended_by_error(case: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        program("ended_by_error", case), capture_output=True, timeout=60, env={**os.environ, **variables}
    )


@pytest.mark.parametrize(
    ("case", "code", "shown"),
    [
        ("usage", 2, "Error: ab�5mc�d�e\n"),
        ("mistake", 2, "icd-assets: a�[31mb�5mc�d�e\n"),
        ("bug", 1, "ZeroDivisionError: a�[31mb�5mc�d"),
        ("thread", 0, "ZeroDivisionError: a�[31mb�5mc�d"),
        ("unprintable", 1, "Bad: <exception str() failed>\n"),
    ],
)
def test_no_text_of_an_error_steers_the_terminal(case: str, code: int, shown: str) -> None:
    ended = ended_by_error(case, PYTHONIOENCODING="utf-8")
    text = ended.stderr.decode()
    assert ended.returncode == code
    assert shown in text
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert ("Traceback" in text) is (case in ("bug", "thread", "unprintable"))  # a bug must be seen


def test_an_endless_error_has_an_end() -> None:
    assert len(ended_by_error("long").stderr) < 200_000


@pytest.mark.parametrize(
    ("case", "sentence"),
    [("memory", "the memory does not suffice"), ("processes", "no further process or thread")],
)
def test_a_fault_of_the_machine_is_one_sentence(case: str, sentence: str) -> None:
    ended = ended_by_error(case)
    assert ended.returncode == 2
    assert ended.stderr.decode().startswith(f"icd-assets: {sentence}")
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize("case", ["printed", "mistake", "usage", "bug"])
@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1", "utf-8"])
def test_what_the_terminal_has_no_letter_for_is_no_error(case: str, encoding: str) -> None:
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = ended_by_error(case, PYTHONIOENCODING=encoding, **plain)
    assert ended.returncode == {"printed": 0, "bug": 1}.get(case, 2)
    assert b"UnicodeEncodeError" not in ended.stderr
    assert ended.stdout.count(b"\n") == (2 if case == "printed" else 0)


def test_the_folder_of_work_is_gone(tmp_path: Path) -> None:
    (folder := tmp_path / "work").mkdir()
    command = f"cd {folder} && rmdir {folder} && exec {sys.executable} -m icd_assets.cli status"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("DAGSTER_HOME", None)
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "icd-assets: the folder in which this command runs was removed; cd to one that is there, then run again.\n"
    )
