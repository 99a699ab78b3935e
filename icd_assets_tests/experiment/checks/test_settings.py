"""Settings that contradict each other are found before the first step; those of steps left out are not."""

from __future__ import annotations

from typing import Any

import pytest

from icd_assets.errors import UserError
from icd_assets.experiment.checks.settings import settings
from icd_assets.experiment.plan import Plan
from icd_assets.runtime.finding import Finding
from icd_assets.scoring.rewards import REWARD_MODES, RewardConfig, RewardMode, reward, weights
from icd_assets.scoring.rl_data import AnsweredPointer
from icd_assets_tests.experiment.checks.conftest import Opened, looked, problems

PROPOSERS = ("num_beams", "samples_per_temp", "num_retrieval", "num_random")


def test_defaults_fit_together(opened: Opened) -> None:
    (finding,) = settings(looked(opened()))
    assert finding == Finding("settings", "ok", "no contradictions")


@pytest.mark.parametrize(
    ("sets", "variables", "said"),
    [
        ({("shared", "pool_size"): "3", ("shared", "shots"): "4"}, {}, "shared.shots is 4, but a pool has 3"),
        ({("shared", "pool_size"): "3"}, {}, "evaluation asks for 4 shots, but a pool has 3"),
        (
            {("shared", "pool_size"): "20", ("evaluation", "compare_shots"): "16"},
            {},
            "evaluation.compare_shots is 16, and the control",
        ),
        ({("candidate_pools", "mix_rand"): "0.9"}, {}, "the three shares must sum to 1"),
        ({("v2_checkpoint", "num_heads"): "3"}, {}, "hidden_dim is 256, which 3 heads do not divide"),
        ({("v2_checkpoint", "source"): "train"}, {"LEVER_LM_CHECKPOINT_PATH": "x"}, "unset one of them"),
        ({}, {"USE_PPO_CLIP": "true", "KL_BETA": "0.1", "GRPO_EPOCHS": "1"}, "KL_BETA is 0.1"),
        ({("v2format_checkpoint", "source"): "grpo"}, {}, "GRPO_EPOCHS is 0"),
        ({("rl_data", "temps"): "0,1"}, {}, "sampling temperatures must be above 0"),
        ({}, {"TEST_DATA_NUM": "0"}, "nothing to evaluate"),
        ({}, {"REWARD_MODE": "legacy"}, "legacy weighs by alpha, beta, and each is 0, so every reward would be 0"),
        ({}, {"HARD_WEIGHT": "0", "SOFT_WEIGHT": "0"}, "give one, such as --set reward.soft_weight=1"),
        ({}, {"REWARD_MODE": "soft_only", "SOFT_WEIGHT": "0"}, "soft_only weighs by soft_weight"),
        ({("rl_data", key): "0" for key in PROPOSERS}, {}, "proposes no pointers"),
        ({("rl_data", key): str(int(key == "num_beams")) for key in PROPOSERS}, {}, "one pointer a query"),
        ({}, {"REWARD_MODE": "hard_only", "HARD_WEIGHT": "0"}, "hard_only weighs by hard_weight"),
        (
            {
                ("grpo_checkpoints", "topk_before_advantage"): "true",
                ("grpo_checkpoints", "later_epochs_top_k"): "1",
            },
            {"GRPO_EPOCHS": "1"},
            "but k is 1",
        ),
    ],
)
def test_contradictions(opened: Opened, sets: Any, variables: dict[str, str], said: str) -> None:
    found = list(settings(looked(opened(sampler="mix_sampler", sets=sets, **variables))))
    assert {finding.level for finding in found} == {"problem"}
    assert said in " ".join(finding.found for finding in found)


@pytest.mark.parametrize("mode", sorted({*REWARD_MODES} - {"cider"}))
def test_one_weight_above_zero_suffices(opened: Opened, mode: RewardMode) -> None:
    """A mode's weights are all that its reward of a right answer depends on."""
    answered = AnsweredPointer(
        pointer=(0, 1), vqa_correct=1, vqa_acc_score=1.0, vqa_gt_prob=1.0, vqa_rel_score=1.0, beam_score=1.0
    )
    none = dict.fromkeys(("hard_weight", "soft_weight", "rel_weight", "alpha", "beta"), 0.0)
    assert reward(answered, RewardConfig(mode=mode, **none)) == 0
    for name in weights(mode):
        sets = {("reward", other): str(float(other == name)) for other in none}
        assert not problems(settings(looked(opened(sets=sets, REWARD_MODE=mode))))


def test_what_a_plan_does_not_reach_contradicts_nothing(opened: Opened) -> None:
    experiment = opened(USE_PPO_CLIP="true", KL_BETA="0.1", GRPO_EPOCHS="1")
    assert problems(settings(looked(experiment)))
    look = looked(experiment)
    look.plan = Plan(experiment, tuple(item for item in look.plan.steps if item.step.name == "candidate_pools"))
    assert not problems(settings(look))


def test_a_reward_of_another_task(opened: Opened) -> None:
    (problem,) = problems(settings(looked(opened(REWARD_MODE="cider"))))
    assert "REWARD_MODE cider is not a reward of the task vqa" in problem


@pytest.mark.parametrize("variable", ["RCE_LR", "RCE_TEMP_START", "GRPO_LR", "KL_BETA"])
@pytest.mark.parametrize("value", ["inf", "1e400", "nan"])
def test_no_setting_of_training_is_infinite(opened: Opened, variable: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{variable}={value}"):
        opened(**{variable: value})
