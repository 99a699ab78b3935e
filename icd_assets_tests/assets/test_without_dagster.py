"""The page on Python does what it says: every artifact without Dagster, to the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import icd_assets
from icd_assets.errors import UserError
from icd_assets.experiment.steps import STEP
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.workplace import KEY, new_workplace, shrink


@pytest.mark.slow
def test_python_alone_makes_what_the_command_makes(tmp_path: Path) -> None:
    by_command, by_python = new_workplace(tmp_path / "command"), new_workplace(tmp_path / "python")
    for place in (by_command, by_python):
        shrink(place)
    recipe = {"RCE_EPOCHS": "2", "GRPO_EPOCHS": "1"}  # the page's
    ended = by_command.train(**recipe)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    page = subprocess.run(
        program("without_dagster"),
        cwd=by_python.folder,
        env=by_python.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert page.returncode == 0, page.stderr
    found = json.loads(page.stdout.splitlines()[-1])
    manifests = [json.loads(path.read_text()) for path in by_command.results.rglob("*.manifest.json")]
    made = {
        manifest["want"]["asset"]: manifest["data_version"] for manifest in manifests if manifest["cell"] == KEY
    }
    assert found["made"] == made
    labels = {"single_labels", "singles_selector", "step_labels", "sequence_selector", "rl_queries", "rl_selector"}
    assert set(made) == set(STEP) - labels  # the recipe beams, which settings of RCE and GRPO ask for
    assert {"zero-shot", "random", "SFT", "mine", "mine, shuffled labels"} <= set(found["compared"])
    again = by_python.train("--dry-run", **recipe)
    assert again.returncode == 0, again.stderr
    assert "missing" not in again.stdout, again.stdout


def test_a_cell_is_what_the_command_line_would_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RCE_EPOCHS", "7")
    given = {"grpo_checkpoints.grpo_epochs": 2, "shared.shots": 3}
    experiment = icd_assets.open_cell("vqav2_local_sub", "rand_sampler", "tiny_vl", given, results="here")
    assert experiment.cell.key == "vqav2|RandSampler/tiny_vl"
    assert experiment.store.root == tmp_path / "here"
    assert experiment.config("rce_checkpoints").rce_epochs == 7
    assert experiment.config("grpo_checkpoints").grpo_epochs == 2
    assert experiment.config("v2format_checkpoint").source == "grpo"
    assert experiment.config("evaluation").subset
    assert experiment.settings.shared.shots == 3
    with pytest.raises(UserError, match=r"rce_checkpoints\.epochs: there is no such setting"):
        icd_assets.open_cell("demo", "rand_sampler", "tiny_vl", {"rce_checkpoints.epochs": 1})
    with pytest.raises(UserError, match="there is no asset 'rl'; valid: candidate_pools"):
        icd_assets.build(experiment, "rl")


def test_the_package_is_light_until_it_is_used() -> None:
    for name in icd_assets.__all__:
        assert callable(getattr(icd_assets, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = icd_assets.nothing  # type: ignore[attr-defined]
    code = "import sys, icd_assets; print([name for name in sys.modules if name.startswith('icd_assets.')])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "[]\n"
