"""Several at work at once in one home: each ends well, with the bytes that it would have made alone.

Two commands of two cells share the one slot of the pool of GPUs; the UI's run and a command of one cell take
turns, also where the one that is ahead is killed.
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icd_assets.defs.runs.run_owner import read_owner
from icd_assets.experiment.steps import STEP
from icd_assets.store.store import Store
from icd_assets_tests.pipeline.test_resume import start, wait_for
from icd_assets_tests.torture.driver import alive, leftovers
from icd_assets_tests.worlds.served_ui import served_ui
from icd_assets_tests.worlds.workplace import CELL, KEY, Workplace, new_workplace, shrink

pytestmark = [pytest.mark.slow, pytest.mark.torture]

OTHER = ["text_sim_sampler" if word == "rand_sampler" else word for word in CELL]
LAST = "rl_data"
_PATIENCE_SECONDS = 240
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digest of each file that the two cells have, made one after the other."""
    place = small(tmp_path_factory.mktemp("alone") / "work")
    for cell in (CELL, OTHER):
        ended = place.run("train", *cell, "--to", LAST)
        assert ended.returncode == 0, ended.stderr
    return digests(place)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    """One in which nothing is at work in the end, and nothing is left behind."""
    found = small(tmp_path / "work")
    yield found
    assert alive(found.folder) == []
    assert leftovers(found.results) == []
    with dg.DagsterInstance.from_config(str(found.folder)) as instance:
        assert all(run.is_finished for run in instance.get_runs())
        assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0


def small(folder: Path) -> Workplace:
    found = new_workplace(folder)
    shrink(found)
    return found


def digests(place: Workplace) -> dict[str, str]:
    """By path, of the files of all artifacts; each artifact is complete, and was made once."""
    store, found = Store(place.results), {}
    for path in place.results.rglob("*.manifest.json"):
        manifest = store.read(path)
        assert manifest is not None and store.damage(manifest) is None
        found |= {record.path: record.sha256 for record in manifest.files}
        if ".icd_assets" not in path.parts:
            same = list(store.history.glob(f"{manifest.spec.asset}/{manifest.data_version}-*.json"))
            assert len({store_cell(p) for p in same}) == len(same), same
    return found


def store_cell(path: Path) -> str:
    return str(json.loads(path.read_text(encoding="utf-8"))["cell"])


def gpu_spans(place: Workplace) -> list[tuple[float, float, str]]:
    """When each step had the slot, of all runs, in order."""
    spans = []
    with dg.DagsterInstance.from_config(str(place.folder)) as instance:
        for run in instance.get_runs():
            for step in instance.get_run_step_stats(run.run_id):
                if step.step_key in STEP and STEP[step.step_key].gpu and step.start_time and step.end_time:
                    spans.append((step.start_time, step.end_time, f"{step.step_key} of {run.run_id}"))
    return sorted(spans)


def test_two_cells_in_one_home(place: Workplace, alone: dict[str, str]) -> None:
    running = [start(place, "--to", LAST, cell=cell) for cell in (CELL, OTHER)]
    printed = [process.communicate(timeout=_PATIENCE_SECONDS)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], printed
    assert digests(place) == alone
    spans = gpu_spans(place)
    assert len(spans) >= 6
    for before, after in pairwise(spans):
        assert before[1] <= after[0], (before, after)


def launch(url: str, last: str) -> str:
    """Ask the UI for everything up to an asset, as its own page does; the run's id."""
    order = list(STEP)
    chosen = [name for name in ("candidate_pools", "beam_data") if order.index(name) <= order.index(last)]
    params = {
        "selector": {
            "repositoryLocationName": "icd_assets",
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [name]} for name in chosen],
        },
        "runConfigData": {"resources": {"shared": {"config": {"recipe": "beams"}}}},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": KEY}]},
        "mode": "default",
    }
    body = json.dumps({"query": _LAUNCH, "variables": {"params": params}}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json", "Origin": url})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)["data"]["launchPipelineExecution"]
    assert found["__typename"] == "LaunchRunSuccess", found
    return str(found["run"]["runId"])


def wait(there: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not there():
        assert time.monotonic() < end, what
        time.sleep(0.2)


@pytest.fixture
def instance(place: Workplace) -> Iterator[dg.DagsterInstance]:
    place.run("status")
    with dg.DagsterInstance.from_config(str(place.folder)) as found:
        yield found


def at_work(instance: dg.DagsterInstance, run_id: str, step: str) -> bool:
    run = instance.get_run_by_id(run_id)
    assert run is not None and not run.is_failure
    return any(one.step_key == step for one in instance.get_run_step_stats(run_id))


def ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.is_finished


def beams(found: dict[str, str]) -> dict[str, str]:
    return {path: digest for path, digest in found.items() if "RandSampler" in path and "rl_data" not in path}


@pytest.mark.parametrize("killed", [False, True], ids=["both go on", "the UI's is killed"])
def test_a_command_while_the_ui_makes_the_cell(
    place: Workplace, instance: dg.DagsterInstance, alone: dict[str, str], killed: bool
) -> None:
    with served_ui(place.folder, place.environment) as url:
        run_id = launch(url, "beam_data")
        wait(lambda: at_work(instance, run_id, "candidate_pools"), "the UI's run does not start")
        command = start(place, "--to", "beam_data")
        if killed:
            wait(lambda: at_work(instance, run_id, "beam_data"), "beam_data does not start")
            run = instance.get_run_by_id(run_id)
            owner = read_owner(run.tags, run_id) if run is not None else None
            assert owner is not None
            os.kill(owner.pid, signal.SIGKILL)
        printed = command.communicate(timeout=_PATIENCE_SECONDS)[0]
        assert command.returncode == 0, printed
        wait(lambda: ended(instance, run_id), "the UI's run does not end")
        run = instance.get_run_by_id(run_id)
        assert run is not None and run.is_success is not killed
        assert beams(digests(place)).items() <= alone.items()


@pytest.mark.parametrize("killed", [False, True], ids=["both go on", "the command is killed"])
def test_the_ui_while_a_command_makes_the_cell(
    place: Workplace, instance: dg.DagsterInstance, alone: dict[str, str], killed: bool
) -> None:
    with served_ui(place.folder, place.environment) as url:
        command = start(place, "--to", "beam_data")
        wait_for(command, "beam_data: missing")
        os.kill(command.pid, signal.SIGSTOP)
        run_id = launch(url, "beam_data")
        wait(lambda: at_work(instance, run_id, "candidate_pools"), "the UI's run does not start")
        time.sleep(3)
        os.kill(command.pid, signal.SIGKILL if killed else signal.SIGCONT)
        printed = command.communicate(timeout=_PATIENCE_SECONDS)[0]
        assert command.returncode == (-signal.SIGKILL if killed else 0), printed
        wait(lambda: ended(instance, run_id), "the UI's run does not end")
        run = instance.get_run_by_id(run_id)
        assert run is not None and run.is_success
        assert beams(digests(place)).items() <= alone.items()
        if killed:
            after = place.train("--to", "beam_data")
            assert (after.returncode, "nothing had to be done" in after.stdout) == (0, True), after.stdout
