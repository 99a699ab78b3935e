"""Settings that contradict each other, the v2 checkpoint, RL data of the user, the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd_assets.experiment.plan import Plan
from icd_assets.runtime.finding import Finding, findings
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery
from icd_assets.scoring.rl_file import write_rl_data
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.v2_file import V2Checkpoint, write_v2
from icd_assets.upkeep.doctor import recipe
from icd_assets_tests.upkeep.doctor.conftest import Opened

ROWS = {"train": 300, "validation": 40}


def test_defaults_fit_together(opened: Opened) -> None:
    (finding,) = recipe.settings(opened(), ROWS)
    assert finding == Finding("settings", "ok", "no contradictions")


@pytest.mark.parametrize(
    ("sets", "variables", "said"),
    [
        ({("shared", "pool_size"): "3", ("shared", "shots"): "4"}, {}, "shared.shots is 4, but a pool has 3"),
        ({("shared", "pool_size"): "3"}, {}, "evaluation asks for 4 shots, but a pool has 3"),
        ({("shared", "pool_size"): "300"}, {}, "shared.pool_size is 300, but the train split has 300 rows"),
        ({("candidate_pools", "mix_rand"): "0.9"}, {}, "the three shares must sum to 1"),
        ({("v2_checkpoint", "num_heads"): "3"}, {}, "hidden_dim is 256, which 3 heads do not divide"),
        ({("v2_checkpoint", "source"): "train"}, {"LEVER_LM_CHECKPOINT_PATH": "x"}, "unset one of them"),
        ({}, {"USE_PPO_CLIP": "true", "KL_BETA": "0.1", "GRPO_EPOCHS": "1"}, "KL_BETA is 0.1"),
        ({("v2format_checkpoint", "source"): "grpo"}, {}, "GRPO_EPOCHS is 0"),
        ({("beam_data", "expand"): "3", ("shared", "shots"): "4"}, {}, "expand is 3, but 4 shots"),
    ],
)
def test_contradictions(opened: Opened, sets: Any, variables: dict[str, str], said: str) -> None:
    found = list(recipe.settings(opened(sampler="mix_sampler", sets=sets, **variables), ROWS))
    assert {finding.level for finding in found} == {"problem"}
    assert said in " ".join(finding.found for finding in found)


def test_more_anchors_than_rows(opened: Opened) -> None:
    (finding,) = recipe.settings(opened(sets={("shared", "pool_size"): "8"}), {"train": 20})
    assert "sample_num is 24, but the train split has 20 rows" in finding.found


def v2_finding(experiment: Any, steps: set[str] = frozenset()) -> Finding:  # type: ignore[assignment]
    found = findings("v2_checkpoint", lambda: recipe.v2_checkpoint(experiment, steps, {"beam_data": 1560}))
    return found[0]


def test_v2_is_trained_and_says_what_that_costs(opened: Opened) -> None:
    found = v2_finding(opened(), {"beam_data", "v2_checkpoint"}).found
    assert found == "none to import: trained, after beam data is made (1560 scored prompts)"


def test_v2_is_imported_and_read_through(opened: Opened, tmp_path: Path) -> None:
    policy = new_policy(SelectorConfig(embedding_dim=64, hidden_dim=32), seed=1)
    path = tmp_path / "mine.ckpt"
    write_v2(path, V2Checkpoint(policy.state_dict(), {}, 0, {}), hyper_parameters={})
    experiment = opened(LEVER_LM_CHECKPOINT_PATH=str(path))
    found = v2_finding(experiment)
    assert found.level == "ok", found
    assert f"imported from {path}" in found.found
    assert "D 64, H 32" in found.found
    path.write_bytes(path.read_bytes()[:-100])
    assert v2_finding(experiment).level == "problem"
    path.unlink()
    assert "does not exist" in v2_finding(experiment).found


def query(row: int, *accuracies: float) -> RlQuery:
    pointers = tuple(
        AnsweredPointer(
            pointer=(place, place + 1),
            source="beam",
            vqa_pred_answer="tennis",
            vqa_correct=int(accuracy > 0),
            vqa_acc_score=accuracy,
            vqa_eval_mode="vqaEval",
        )
        for place, accuracy in enumerate(accuracies)
    )
    return RlQuery(row=row, candidate_pool_ids=(30, 7, 12, 99), pointers=pointers)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """RL data of two queries; the first has rewards that differ."""
    path = tmp_path / "mine.json"
    write_rl_data(path, RlData((query(3, 1.0, 0.0), query(5, 0.6, 0.6)), {}))
    return path


def rl_finding(experiment: Any) -> Finding:
    return findings("rl_data", lambda: recipe.rl_data(experiment, {"train": 300}))[0]


def test_rl_data_of_the_user_are_read_through(opened: Opened, mine: Path) -> None:
    assert "generated" in rl_finding(opened()).found
    found = rl_finding(opened(RL_DATA_PATH=str(mine)))
    assert found.level == "ok", found
    assert "2 queries, 2 usable, 1 with rewards that differ" in found.found


def test_rl_data_that_teach_nothing_or_do_not_fit(opened: Opened, mine: Path) -> None:
    write_rl_data(mine, RlData((query(5, 0.6, 0.6),), {}))
    assert "there is nothing to learn from it" in rl_finding(opened(RL_DATA_PATH=str(mine))).todo
    write_rl_data(mine, RlData((query(300, 1.0, 0.0),), {}))
    assert "300" in rl_finding(opened(RL_DATA_PATH=str(mine))).found
    mine.unlink()
    assert "mine.json" in rl_finding(opened(RL_DATA_PATH=str(mine))).found


def test_the_plan_in_a_line(opened: Opened) -> None:
    planned = Plan.of(opened(), to="beam_data")
    assert recipe.plan_line(planned).found == "would make candidate_pools (missing), beam_data (missing)"
    done = replace(planned, steps=tuple(replace(item, reason=None) for item in planned.steps))
    assert recipe.plan_line(done).found == "nothing has to be done"
