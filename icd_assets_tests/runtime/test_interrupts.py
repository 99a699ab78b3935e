"""An interrupt that Python ignores comes again; what else Python ignores is reported as ever."""

from __future__ import annotations

import subprocess

from icd_assets_tests.programs import program


def run(case: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(program("interrupted", case), capture_output=True, text=True, timeout=60)


def test_heard_though_it_fell_into_a_destructor() -> None:
    ended = run("once")
    assert ended.stdout == "went on\n"  # else it was not ignored, and nothing is shown here
    assert ended.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert "Exception ignored" not in ended.stderr


def test_heard_as_the_interrupt_of_a_step() -> None:
    ended = run("in_a_step")
    assert ended.stderr.splitlines()[-1].endswith("DagsterExecutionInterruptedError")


def test_heard_though_it_falls_there_again_and_again() -> None:
    ended = run("again_and_again")
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 1


def test_what_else_is_ignored_is_told() -> None:
    ended = run("an_error")
    assert ended.returncode == 0
    assert "Exception ignored" in ended.stderr
    assert "ValueError: in a destructor" in ended.stderr
