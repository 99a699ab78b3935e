"""Dagster's records in PostgreSQL, as docker/dagster.yaml keeps them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from icd_assets_tests.programs import program
from icd_assets_tests.worlds.postgres import PASSWORD, postgres
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


def home(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(ROOT / "docker/dagster.yaml", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.torture)])
def test_two_hosts_that_start_at_once_create_the_tables_once(
    workplace: Workplace, tmp_path: Path, rounds: int
) -> None:
    """Each time with an empty database; two homes, so that no lock of this machine is in between."""
    with postgres() as server:
        hosts = [
            subprocess.Popen(
                program("open_records", str(home(tmp_path / name))),
                env=workplace.environment | server,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
            for name in ("one", "other")
        ]
        answers = []
        for _ in range(rounds):
            for host in hosts:
                print(file=host.stdin)
            answers += [host.stdout.readline().strip() for host in hosts if host.stdout is not None]
            assert server.sql("SELECT count(*) FROM alembic_version") == "1"
            server.sql("DROP SCHEMA public CASCADE")
            server.sql("CREATE SCHEMA public")
        for host in hosts:
            host.communicate(timeout=60)
    assert answers == ["opened"] * 2 * rounds


@pytest.mark.slow
def test_each_way_in_which_the_records_do_not_open_is_one_sentence(workplace: Workplace) -> None:
    shutil.copy(ROOT / "docker/dagster.yaml", workplace.folder)
    with postgres() as server:
        wrong = refusal(workplace, **server | {"POSTGRES_PASSWORD": "an0ther/secret"})
        assert 'password authentication failed for user "icd"' in wrong and "an0ther" not in wrong
        assert 'database "none" does not exist' in refusal(workplace, **server | {"POSTGRES_DB": "none"})
        found = workplace.run("doctor", "--json", **server)
        text = f"PostgreSQL {server.sql('SHOW server_version').split()[0]} at 127.0.0.1:{server['POSTGRES_PORT']}"
        assert any(text in one["found"] for one in json.loads(found.stdout)["findings"]), found.stdout
        away = workplace.run("doctor", **server | {"POSTGRES_PORT": "1"})
        assert (away.returncode, away.stderr) == (2, "") and "PostgreSQL does not serve them" in away.stdout
    assert PASSWORD not in found.stdout + found.stderr + away.stdout


@pytest.mark.slow
def test_a_server_that_goes_away_in_the_middle_of_a_run_is_one_sentence(workplace: Workplace) -> None:
    shrink(workplace)
    shutil.copy(ROOT / "docker/dagster.yaml", workplace.folder)
    with postgres() as server:
        environment = workplace.environment | server
        command = [sys.executable, "-m", "icd_assets.cli", "train", *CELL, "--to", "beam_data"]
        run = subprocess.Popen(
            command,
            cwd=workplace.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + 120
        while not (workplace.results / ".icd_assets/answers.sqlite").is_file():  # the model is about to be asked
            assert run.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        server.stop()
        out, err = run.communicate(timeout=300)
        assert run.returncode == 2 and "Traceback" not in err and "Retrying" not in err, err
        sentences = [line for line in err.splitlines() if line.startswith("icd-assets: ")]
        assert len(sentences) == 1 and "PostgreSQL does not serve them" in sentences[0], err
        server.start()
        again = workplace.train("--to", "beam_data", **server)
        assert again.returncode == 0 and not again.stderr, again.stderr
        log = server.run("pg_dump", "-h", "127.0.0.1", "-p", server["POSTGRES_PORT"], "-U", "icd", "dagster")
    written = [path for path in workplace.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]
    assert PASSWORD not in out + err + log
