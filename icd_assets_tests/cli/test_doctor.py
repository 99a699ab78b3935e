"""``icd-assets doctor`` as a user runs it: lines, JSON, exit codes, and no traceback whatever is broken."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icd_assets.defs.runs.instance_checks import check_instance
from icd_assets.runtime.finding import Finding
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.workplace import CELL, ROOT, Workplace

pytestmark = pytest.mark.slow

CPU = {"CUDA_VISIBLE_DEVICES": ""}  # also where the tests run beside a GPU


def test_a_healthy_cell(workplace: Workplace) -> None:
    ended = workplace.run("doctor", *CELL, **CPU)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    for subject in ("home", "pool", "results", "dataset", "packages", "model", "memory", "plan", "v2_checkpoint"):
        assert f"ok       {subject} " in ended.stdout
    assert "nothing would stop the run" in ended.stdout
    assert not (workplace.folder / "datasets").exists()  # it only looks


def test_a_cell_of_which_nothing_is_there(workplace: Workplace) -> None:
    ended = workplace.run("doctor", "okvqa", "mix_sampler", "qwen2.5_vl_3B", "--json", HF_HUB_OFFLINE="1", **CPU)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    assert set(report) == {"schema", "blocked", "findings"}
    assert (report["schema"], report["blocked"]) == (2, True)
    assert all(set(f) == {"subject", "level", "found", "todo"} for f in report["findings"])
    assert {f["level"] for f in report["findings"]} <= {"ok", "fixed", "warning", "problem"}
    problems = [f["subject"] for f in report["findings"] if f["level"] == "problem"]
    assert problems == ["dataset", "dataset", "model", "encoder", "encoder"]


def test_without_a_cell_everything_is_looked_at_without_torch(workplace: Workplace) -> None:
    ended = subprocess.run(
        program("heavy_command", "doctor"),
        cwd=workplace.folder,
        env=workplace.environment | CPU | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "ok       dataset        demo: written by the first run" in ended.stdout
    assert "warning  model          Qwen2_5-VL-3B-Instruct: Qwen/Qwen2.5-VL-3B-Instruct is neither" in ended.stdout
    assert not {"torch", "transformers", "numpy"} & set(json.loads(ended.stderr.splitlines()[-1]))
    assert "nothing would stop the run" in ended.stdout


@pytest.mark.parametrize("names", [["demo"], ["demo", "rand_sampler", "tiny_vl", "x"]])
def test_names_that_are_no_cell(workplace: Workplace, names: list[str]) -> None:
    assert workplace.run("doctor", *names).returncode == 2


# ---- the instance, in this process ------------------------------------------------------------------------


def checked(home: Path, monkeypatch: pytest.MonkeyPatch, *, fix: bool = False) -> list[Finding]:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.chdir(home)
    return check_instance(home, fix=fix)


def problems(found: list[Finding]) -> str:
    return "\n".join(finding.found for finding in found if finding.level == "problem")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    return tmp_path


def test_a_healthy_instance(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(home, monkeypatch, fix=True)
    assert {finding.level for finding in found} == {"ok"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("concurrency: {pools: {default_limit: 1", "is not readable YAML"),
        ("- a\n- b\n", "holds no settings"),
        ("", "holds no settings"),
        ("!!python/object/apply:os.system ['touch hacked']", "is not readable YAML"),
        ("\xff\xfe", "dagster.yaml"),
        ("# telemetry: {enabled: false}\n\n  # nothing\n", "holds no settings"),
        ("no_such_key: 1\n", 'do not open: Received unexpected config entry "no_such_key" at the root; fix'),
        (
            "storage: {postgres: {postgres_db: "
            "{username: u, password: {env: NO_SUCH_PW}, hostname: h, db_name: d}}}",
            'environment variable "NO_SUCH_PW"',
        ),
        ("run_launcher: {module: no_such_module, class: X}\n", "does not open"),
    ],
)
def test_a_broken_or_hostile_dagster_yaml(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (home / "dagster.yaml").write_bytes(text.encode("latin-1"))
    assert said in problems(checked(home, monkeypatch))
    assert not (home / "hacked").exists()


def test_a_pool_without_limit_is_given_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    found = checked(home, monkeypatch)
    assert "pool gpu has no limit" in problems(found)
    assert any("free_slots_after_run_end_seconds" in finding.todo for finding in found)
    assert [finding.found for finding in checked(home, monkeypatch, fix=True) if finding.level == "fixed"] == [
        "pool gpu had no limit; it is 1 now"
    ]
    assert problems(checked(home, monkeypatch)) == ""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 0)
    assert "no GPU step would ever start" in problems(checked(home, monkeypatch, fix=True))


def test_tables_of_another_dagster(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked(home, monkeypatch)
    with closing(sqlite3.connect(home / "history/runs.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '7e2f3204cf8e'")
    found = checked(home, monkeypatch)
    assert "tables of another Dagster: runs 7e2f3204cf8e" in problems(found)


def test_a_damaged_history(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked(home, monkeypatch)
    (home / "history/runs/lost.db").write_bytes(b"half")
    assert any("lost.db" in finding.found for finding in checked(home, monkeypatch) if finding.level == "warning")
    index = home / "history/runs/index.db"
    index.write_bytes(b"\0" * 4096)
    assert f"{index} is damaged" in problems(checked(home, monkeypatch))
