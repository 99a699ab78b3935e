"""What the package takes from Dagster's private modules stands in one file, and each gap is still there."""

from __future__ import annotations

import ast
import re
import signal
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
from dagster._utils.interrupts import capture_interrupts

import icd_assets
from icd_assets.defs.runs import dagster_private, run_status
from icd_assets.defs.runs.dagster_private import InstanceConcurrencyContext
from icd_assets.defs.runs.run_end import is_interrupt
from icd_assets.runtime import interrupts

PACKAGE = Path(icd_assets.__file__).parent
ROOT = PACKAGE.parent
PRIVATE = Path(dagster_private.__file__)
PAGE = ROOT / "docs/dagster_gaps.md"


def imported(path: Path) -> list[str]:
    """The modules that a file imports, at its top or inside; ``importlib`` by a literal name too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            names.append(node.value)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names.append(f"{'dagster' if node.value.id == 'dg' else node.value.id}.{node.attr}")
    return names


def test_no_other_file_imports_what_is_private() -> None:
    guilty = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*.py")
        if any(re.match(r"dagster(_\w+)?(\.\w+)*\._", name) for name in imported(path))
    }
    assert guilty == {str(PRIVATE.relative_to(ROOT))}


def test_each_private_name_exists_and_is_described() -> None:
    for name in dagster_private.__all__:
        assert getattr(dagster_private, name) is not None
        assert f"``{name}``" in (dagster_private.__doc__ or "")
    taken = [name.rsplit(".", 1)[1] for name in imported(PRIVATE) if name.startswith("dagster._")]
    assert sorted(taken) == sorted(dagster_private.__all__)


def test_the_pages_speak_of_the_oldest_version_that_is_allowed() -> None:
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"dagster>={dg.__version__},<1.14" in allowed  # constraints.txt: the tests run with the oldest
    for path in [PAGE, *sorted((PACKAGE / "defs").rglob("*.py"))]:
        assert set(re.findall(r"\b1\.\d\d\.\d+\b", path.read_text())) <= {dg.__version__}, path


def test_the_page_names_files_that_are_there() -> None:
    named = set(re.findall(r"`((?:icd_assets|icd_assets_tests)/[\w/]+\.py)`", PAGE.read_text()))
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_the_gap_of_pool_wait_is_still_there() -> None:
    """If this fails, Dagster sleeps by itself: delete pool_wait's sleeping."""
    waiting = SimpleNamespace(_pending_claims={"a"}, _pending_timeouts={"a": time.time() + 60})
    interval = InstanceConcurrencyContext.interval_to_next_pending_claim_check(cast(Any, waiting))
    assert interval <= 0
    assert callable(InstanceConcurrencyContext.pending_claim_steps)


def test_an_interrupt_between_steps_is_kept_until_it_is_asked_for() -> None:
    with capture_interrupts():
        signal.raise_signal(signal.SIGINT)
        assert dagster_private.pop_captured_interrupt()
        assert not dagster_private.pop_captured_interrupt()


def test_the_interrupt_that_libraries_know_by_name_has_that_name() -> None:
    assert dagster_private.DagsterExecutionInterruptedError.__name__ in interrupts._INTERRUPTS
    assert not issubclass(dagster_private.DagsterExecutionInterruptedError, Exception)


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_step_that_was_interrupted_fails_like_any_other(interrupted: bool) -> None:
    @dg.op
    def step() -> None:
        if interrupted:
            raise dagster_private.DagsterExecutionInterruptedError
        raise ValueError

    @dg.job
    def job() -> None:
        step()

    result = job.execute_in_process(raise_on_error=False, instance=dg.DagsterInstance.ephemeral())
    assert not result.success
    assert any(is_interrupt(event) for event in result.all_events) is interrupted


def test_every_status_is_either_ended_or_listed() -> None:
    listed = {*run_status.TO_MAKE_SOMETHING, *run_status.WITH_A_PROCESS}
    ended = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    of_others = {"MANAGED", "SUSPENDED"}  # outside of Dagster's control; written by nothing yet
    assert {status for status in dg.DagsterRunStatus if status.value not in of_others} == listed | ended
