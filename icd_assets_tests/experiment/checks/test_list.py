"""The list as a whole: nothing to make costs nothing, all problems are found at once, scans are remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.experiment import checks
from icd_assets.experiment.checks import check
from icd_assets.experiment.checks.look import Look
from icd_assets.experiment.checks.scans import Scans
from icd_assets.experiment.plan import Plan
from icd_assets.runtime.finding import Finding
from icd_assets_tests.experiment.checks.conftest import Opened, looked, problems


def test_a_good_cell_has_nothing_in_its_way(written: Opened) -> None:
    found = list(check(looked(written())))
    assert {finding.level for finding in found} == {"ok"}
    assert {subject for subject, _ in checks.CHECKS} - {"artifacts", "encoder"} <= {f.subject for f in found}


def test_where_nothing_is_to_be_made_nothing_is_looked_at(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKS", (("any", None),))  # would fail
    experiment = opened()
    assert list(check(Look(Plan(experiment, ())))) == []


def test_all_problems_are_found_at_once(written: Opened, tmp_path: Path) -> None:
    variables = {"USE_PPO_CLIP": "true", "KL_BETA": "0.1", "GRPO_EPOCHS": "1"}
    experiment = written(
        sets={("shared", "pool_size"): "5000"}, LEVER_LM_CHECKPOINT_PATH=str(tmp_path / "no.ckpt"), **variables
    )
    with pytest.raises(UserError):
        looked(experiment)  # a plan needs the checkpoint
    experiment = written(
        sets={("shared", "pool_size"): "5000"}, RL_DATA_PATH=str(tmp_path / "no.json"), **variables
    )
    found = "\n".join(problems(check(looked(experiment))))
    for part in ("KL_BETA is 0.1", "fewer than 5000 candidates", "no.json does not exist"):
        assert part in found


def test_a_results_folder_that_is_a_file(opened: Opened, tmp_path: Path) -> None:
    plan = looked(opened(), "rce_checkpoints").plan
    (tmp_path / "file").write_text("")
    blocked = replace(plan.experiment, store=type(plan.experiment.store)(tmp_path / "file" / "results"))
    found = problems(check(Look(replace(plan, experiment=blocked))))
    assert f"{tmp_path}/file is a file, not a folder" in found[0]


def test_scans_are_remembered_by_key_and_survive_damage(tmp_path: Path) -> None:
    path, finding = tmp_path / "private" / "checks.json", Finding("a", "warning", "found", "do")
    calls: list[int] = []

    def look() -> list[Finding]:
        calls.append(1)
        return [finding]

    for _ in range(2):
        assert list(Scans(path).findings(["key", 1], look)) == [finding]
    assert list(Scans(path).findings(["key", 2], look)) == [finding]
    assert len(calls) == 2
    for content in ("{", "[]", "null", '{"a": ' * 5000):
        path.write_text(content)
        assert list(Scans(path).findings(["key", 1], look)) == [finding]
    path.unlink()
    list(Scans(path, read_only=True).findings(["key", 1], look))
    assert not path.exists()


def test_two_at_once_lose_nothing_and_the_file_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "checks.json"
    one, other = Scans(path), Scans(path)
    one.value("a", lambda: 1)
    other.value("b", lambda: 2)
    assert len(json.loads(path.read_text())) == 2
    for number in range(600):
        other._known[str(number)] = number
    other.put("c", 3)
    assert len(json.loads(path.read_text())) == 500
    assert Scans(path).value("c", lambda: 0) == 3
