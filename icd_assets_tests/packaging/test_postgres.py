"""Dagster's records in PostgreSQL, as docker/dagster.yaml keeps them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from icd_assets_tests.worlds.postgres import postgres
from icd_assets_tests.worlds.workplace import CELL, ROOT, Workplace, shrink

OTHER_CELL = [*CELL[:4], "text_sim_sampler", CELL[5]]


def test_its_settings_are_those_of_any_home_but_for_the_storage() -> None:
    here, plain = (
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        for name in ("docker/dagster.yaml", "dagster.yaml")
    )
    assert here.pop("storage")["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    assert here == plain


def test_what_compose_runs_and_mounts_is_there() -> None:
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
    for name in ("web", "daemon"):
        program = compose["services"][name]["command"][0]
        assert (Path(sys.executable).parent / program).is_file()
    named = set(yaml.safe_load((ROOT / "docker/dagster.yaml").read_text())["storage"]["postgres"]["postgres_db"])
    given = set(compose["x-icd"]["environment"])
    assert {"hostname", "username", "password", "db_name", "port", "scheme"} == named
    assert given == {f"POSTGRES_{name}" for name in ("HOST", "PORT", "USER", "PASSWORD", "DB")}


def refusal(place: Workplace, **variables: str) -> str:
    """The one sentence of a train that Dagster's records stop."""
    ended = place.train("--to", "candidate_pools", **variables)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def test_a_server_that_does_not_answer_and_a_package_that_is_missing(workplace: Workplace) -> None:
    settings = (ROOT / "docker/dagster.yaml").read_text(encoding="utf-8")
    (workplace.folder / "dagster.yaml").write_text(settings)
    nobody = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "1", "POSTGRES_DB": "dagster"}
    nobody |= {"POSTGRES_USER": "icd", "POSTGRES_PASSWORD": "secret"}
    sentence = refusal(workplace, **nobody)
    assert "records do not open" in sentence and "dagster.yaml" in sentence and "secret" not in sentence
    (workplace.folder / "dagster.yaml").write_text(settings.replace("+psycopg2", "+psycopg"))  # not installed
    assert "icd-assets[postgres]" in refusal(workplace, **nobody)
    (workplace.folder / "dagster.yaml").write_text("storage: {postgre: {}}\n")
    assert "dagster.yaml" in refusal(workplace)


@pytest.mark.slow
def test_two_trains_at_once_and_the_records_of_both(workplace: Workplace) -> None:
    shrink(workplace)
    shutil.copy(ROOT / "docker/dagster.yaml", workplace.folder)
    with postgres() as server:
        environment = workplace.environment | server
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "icd_assets.cli", "train", *cell, "--to", "v2_checkpoint"],
                cwd=workplace.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for cell in (CELL, OTHER_CELL)
        ]
        for run in runs:
            out, err = run.communicate(timeout=300)
            assert run.returncode == 0 and not err and "lock" not in out, f"{out}\n{err}"
        count = [
            sys.executable,
            "-c",
            "import dagster as dg; i = dg.DagsterInstance.get(); print(*(r.status.value for r in i.get_runs()))",
        ]
        home = {"DAGSTER_HOME": str(workplace.folder)}
        seen = subprocess.run(count, env=environment | home, capture_output=True, text=True, check=True)
        assert seen.stdout.split() == ["SUCCESS", "SUCCESS"]
        assert not (workplace.folder / "history").exists()  # nothing went to files
        assert "nothing had to be done" in workplace.train("--to", "v2_checkpoint", **server).stdout
