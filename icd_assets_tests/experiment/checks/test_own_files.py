"""The v2 checkpoint and the RL data of the user, read through before a run; the plan in a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd_assets.experiment.checks import own_files
from icd_assets.experiment.checks.possible import plan_line
from icd_assets.experiment.plan import Plan
from icd_assets.runtime.finding import Finding, findings
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery
from icd_assets.scoring.rl_file import write_rl_data
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.v2_file import V2Checkpoint, write_v2
from icd_assets_tests.experiment.checks.conftest import Opened, looked


def v2_finding(experiment: Any) -> Finding:
    return findings("v2_checkpoint", lambda: own_files.v2_checkpoint(looked(experiment)))[0]


def test_v2_is_trained_and_says_what_that_costs(written: Opened) -> None:
    found = v2_finding(written()).found
    asked = 24 * (1 + 64 + 5 * 3)  # alone, singles, and 5 beams over the 4 best less one
    assert found == f"none to import: trained, after beam data is made ({asked} scored prompts)"


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
    return findings("rl_data", lambda: own_files.rl_data(looked(experiment)))[0]


def test_rl_data_of_the_user_are_read_through(opened: Opened, mine: Path) -> None:
    assert "generated" in rl_finding(opened()).found
    found = rl_finding(opened(RL_DATA_PATH=str(mine)))
    assert found.level == "ok", found
    assert "2 queries, 2 usable, 1 with rewards that differ" in found.found


def test_rl_data_that_teach_nothing_or_do_not_fit(written: Opened, mine: Path) -> None:
    write_rl_data(mine, RlData((query(5, 0.6, 0.6),), {}))
    assert "there is nothing to learn from it" in rl_finding(written(RL_DATA_PATH=str(mine))).todo
    write_rl_data(mine, RlData((query(100_000, 1.0, 0.0),), {}))
    assert "100000" in rl_finding(written(RL_DATA_PATH=str(mine))).found
    write_rl_data(mine, RlData((query(3, 1.0, 0.0).model_copy(update={"question_id": 1}),), {}))
    assert (
        "query 3 is question 1, but row 3 of the train split is"
        in rl_finding(written(RL_DATA_PATH=str(mine))).found
    )
    mine.unlink()
    assert "mine.json does not exist" in rl_finding(written(RL_DATA_PATH=str(mine))).found


def test_the_plan_in_a_line(opened: Opened) -> None:
    planned = Plan.of(opened(), to="beam_data")
    assert plan_line(planned).found == "would make candidate_pools (missing), beam_data (missing)"
    done = replace(planned, steps=tuple(replace(item, reason=None) for item in planned.steps))
    assert plan_line(done).found == "nothing has to be done"
