"""A model that cannot be asked: its files are understood and trained on, and what would ask it says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.checks.possible import require_possible
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.settings import read_settings
from icd_assets.experiment.spec import spec_of
from icd_assets_tests.worlds.workplace import CELL, Workplace

FLAMINGO = [*CELL[:-1], "flamingo_3B"]


def experiment(root: Path, **environment: str) -> Experiment:
    return Experiment.open(
        Cell("demo", "RandSampler", "flamingo_3B"),
        read_settings(environment={"RECIPE": "beams", **environment}),
        root,
    )


def test_its_paths_are_upstreams(tmp_path: Path) -> None:
    paths = experiment(tmp_path).paths
    assert paths.rl_data.name == "rl_data_RandSampler_flamingo_3B.json"
    assert "vqa-demo-flamingo_3B-RandSampler-scorer:infoscore" in paths.beam_data.name
    assert paths.v2_checkpoint.name.startswith("flamingo_3B_RandSampler_infoscore_left_beam5_shot2_cand64_")
    assert paths.v3_folder.name == "v3_RandSampler_flamingo_3B"


@pytest.mark.parametrize(
    ("to", "asking"),
    [("candidate_pools", None), ("beam_data", "beam_data"), (None, "beam_data, rl_data, evaluation")],
)
def test_a_plan_that_would_ask_it_is_refused(tmp_path: Path, to: str | None, asking: str | None) -> None:
    cell = experiment(tmp_path)
    plan = Plan.of(cell, to=to)
    if asking is None:
        require_possible(plan)
    else:
        with pytest.raises(UserError, match=f"^{asking} would ask flamingo_3B, which cannot be: .*open_flamingo"):
            require_possible(plan)


def test_a_step_started_by_itself_refuses_before_it_looks_for_weights(
    copied: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied.folder)
    monkeypatch.setenv("ICD_CATALOG", str(copied.folder / "catalog.yaml"))
    with pytest.raises(UserError, match="flamingo_3B cannot be asked: its package open_flamingo"):
        spec_of(experiment(copied.results), "beam_data")


@pytest.mark.slow
def test_what_there_is_of_it_trains(copied: Workplace) -> None:
    mine, v2 = copied.folder / "year_of_work.json", copied.folder / "mine.ckpt"
    mine.write_bytes((copied.results / "demo/generated_data/rl_data_RandSampler_tiny_vl.json").read_bytes())
    (trained,) = (copied.results / "demo/model_cpk/v2").glob("*_best.ckpt")
    v2.write_bytes(trained.read_bytes())
    variables = {"RL_DATA_PATH": str(mine), "LEVER_LM_CHECKPOINT_PATH": str(v2), "RCE_EPOCHS": "1"}

    refused = copied.run("train", *FLAMINGO, "--dry-run", **variables)
    assert refused.returncode == 2
    assert "icd-assets: evaluation would ask flamingo_3B" in refused.stderr

    ended = copied.run("train", *FLAMINGO, "--to", "v2format_checkpoint", **variables)
    assert ended.returncode == 0, ended.stderr
    folder = copied.results / "demo/model_cpk/v3_RandSampler_flamingo_3B"
    assert (folder / "rce_epoch1_v2format.ckpt").is_file()
    assert mine.is_file()
    again = copied.run("train", *FLAMINGO, "--to", "v2format_checkpoint", **variables)
    assert "nothing had to be done" in again.stdout
