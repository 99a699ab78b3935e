"""A signal ends a command in one sentence, wherever it falls; a run of Dagster's records its end first."""

from __future__ import annotations

import subprocess

import pytest

from icd_assets_tests.programs import program

SENTENCE = "icd-assets: interrupted; what is complete is kept, and the same command goes on from there\n"


@pytest.mark.parametrize(
    ("case", "printed"),
    [
        ("at_once", ""),
        ("unwound", "cleaned\n"),
        ("twice", ""),
        ("dropped", "went on\n"),
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
