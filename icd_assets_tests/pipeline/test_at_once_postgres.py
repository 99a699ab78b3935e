"""Two commands and the UI at work at once: Dagster's records and the VLM's answers are in one PostgreSQL database.

Each round begins without results and without answers; the records and the UI stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import dagster as dg
import pytest

from icd_assets_tests.pipeline.test_at_once import (
    LAST,
    OTHER,
    alone,
    beams,
    digests,
    ended,
    gpu_spans,
    launch,
    small,
    wait,
)
from icd_assets_tests.pipeline.test_resume import start
from icd_assets_tests.torture.driver import leftovers
from icd_assets_tests.worlds.postgres import PASSWORD, Server, postgres
from icd_assets_tests.worlds.served_ui import LOG, served_ui
from icd_assets_tests.worlds.workplace import CELL, ROOT, Workplace

__all__ = ["alone"]
pytestmark = [pytest.mark.slow, pytest.mark.torture]

_PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class OnPostgres(Workplace):
    """All that its commands keep in databases is in one server's."""

    server: Server

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.server | {"ICD_ANSWERS": self.server.url, "PGPASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OnPostgres, str, dg.DagsterInstance]]:
    with postgres() as server, pytest.MonkeyPatch.context() as patch:
        place = OnPostgres(small(tmp_path_factory.mktemp("postgres") / "work").folder, server)
        shutil.copy(ROOT / "docker/dagster.yaml", place.folder)
        for name, value in server.items():
            patch.setenv(name, value)
        with (
            served_ui(place.folder, place.environment, seconds=240) as url,
            dg.DagsterInstance.from_config(str(place.folder)) as instance,
        ):
            yield place, url, instance
        log = (place.folder / LOG).read_text(encoding="utf-8")
        assert "Traceback" not in log and PASSWORD not in log, log


@pytest.mark.parametrize("number", range(20))
def test_two_trains_and_the_ui(
    served: tuple[OnPostgres, str, dg.DagsterInstance], alone: dict[str, str], number: int
) -> None:
    place, url, instance = served
    shutil.rmtree(place.results, ignore_errors=True)
    place.server.sql("DROP TABLE IF EXISTS icd_assets_answers_1")
    before = {run.run_id for run in instance.get_runs()}
    running = [start(place, "--to", LAST, cell=cell) for cell in (CELL, OTHER)]
    run_id = launch(url, "beam_data")
    printed = [process.communicate(timeout=_PATIENCE_SECONDS)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], printed
    wait(lambda: ended(instance, run_id), "the UI's run does not end")
    new = [run for run in instance.get_runs() if run.run_id not in before]
    assert len(new) == 3 and all(run.is_success for run in new), [run.status for run in new]
    assert digests(place) == alone and beams(alone)
    spans = [span for span in gpu_spans(place) if any(run.run_id in span[2] for run in new)]
    assert all(one[1] <= other[0] for one, other in pairwise(spans)), spans
    assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0
    assert leftovers(place.results) == [] and not list(place.results.rglob("answers.sqlite"))
