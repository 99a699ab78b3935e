"""Every row of the table in SPEC J, and the folder suffix of A.2."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from icd_assets.errors import UserError
from icd_assets.scoring.rewards import (
    REWARD_MODES,
    Label,
    RewardConfig,
    RewardMode,
    RewardSettings,
    needs_gt_prob,
    reads,
    reward,
    suffix,
    weights,
)
from icd_assets.scoring.rl_data import AnsweredPointer
from icd_assets.tasks import TASKS

RIGHT = AnsweredPointer(pointer=(0, 1), vqa_correct=1, vqa_acc_score=0.6, vqa_gt_prob=0.25, vqa_rel_score=0.9)
WRONG = AnsweredPointer(pointer=(0, 1), vqa_correct=0, vqa_acc_score=0.0, vqa_gt_prob=0.25, vqa_rel_score=0.5)
BARE = AnsweredPointer(pointer=(0, 1), vqa_acc_score=0.6)  # generation 5


# mode, and its reward of RIGHT, WRONG and BARE
MODES = [
    ("hard_plus_soft", 1.6, 0.0, 0.6),
    ("hard_plus_soft_v2", 2.6, 0.0, 0.6),
    ("separated", 2.6, 0.0, 0.6),
    ("hard_only", 1.0, 0.0, 0.0),
    ("soft_only", 0.6, 0.0, 0.6),
    ("hard01_plus_gtprob", 1.25, 0.25, 0.0),
    ("hard01_plus_gtprob_separated", 2.25, 0.25, 0.0),
    ("hard_plus_gtprob_plus_rel", 1.25, 0.3, 0.0),
    ("legacy", 0.0, 0.0, 0.0),
    ("cider", 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("mode", "right", "wrong", "bare"), MODES)
def test_modes_at_default_weights(mode, right, wrong, bare):
    config = RewardConfig(mode=mode)
    assert [reward(c, config) for c in (RIGHT, WRONG, BARE)] == pytest.approx([right, wrong, bare])


def test_the_table_names_every_mode():
    assert [mode for mode, *_ in MODES] == list(REWARD_MODES)
    assert {mode for mode in REWARD_MODES if needs_gt_prob(RewardConfig(mode=mode))} == {
        "hard01_plus_gtprob",
        "hard01_plus_gtprob_separated",
        "hard_plus_gtprob_plus_rel",
    }


def test_weights_and_clip():
    config = RewardConfig(hard_weight=2, soft_weight=0.5)
    assert reward(RIGHT, config) == pytest.approx(2.3)
    assert reward(RIGHT, RewardConfig(hard_weight=50)) == 5.0
    assert reward(RIGHT, RewardConfig(hard_weight=-50)) == -5.0
    rel = RewardConfig(mode="hard_plus_gtprob_plus_rel", rel_weight=1)
    assert reward(WRONG, rel) == pytest.approx(0.75)


def test_legacy():
    scored = AnsweredPointer(pointer=(0, 1), beam_score=0.5, logprob_score=-2.0, vqa_correct=0, vqa_acc_score=0.0)
    config = RewardConfig(mode="legacy", alpha=1, beta=2)
    assert reward(scored, config) == 0.5
    assert reward(scored, config.model_copy(update={"use_logprob": True})) == 2.0
    assert reward(scored, config.model_copy(update={"correctness_mode": "pm1"})) == -1.5
    assert reward(BARE, config) == pytest.approx(1.2)
    by_sign = config.model_copy(update={"correctness_mode": "pm1"})
    assert reward(BARE, by_sign) == pytest.approx(2 * (2 * 0.6 - 1))  # upstream: 2·acc − 1 where h is null
    assert reward(AnsweredPointer(pointer=(0, 1)), by_sign) == 0  # and 0 where both are


@pytest.mark.parametrize("mode", ["hybrid", "hard_plus_gtprob", "HARD_ONLY", "", None, 3])
def test_unknown_mode_is_refused_with_the_valid_ones(mode):
    with pytest.raises(UserError, match=r"is not a reward mode; valid: hard_plus_soft, .*legacy"):
        RewardConfig(mode=mode)


def test_weights_are_finite_numbers():
    with pytest.raises(ValidationError):
        RewardConfig(hard_weight=float("nan"))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, ""),
        ({"rel_weight": 0.5}, ""),  # upstream's collision
        ({"hard_weight": 2}, "_h2.0_s1.0"),
        ({"soft_weight": 0.5}, "_h1.0_s0.5"),
        ({"mode": "legacy", "hard_weight": 2}, "_legacy"),
        ({"mode": "soft_only"}, "_soft_only"),
        ({"mode": "cider"}, "_cider"),
    ],
)
def test_suffix(settings, name):
    assert suffix(RewardConfig(**settings)) == name


def test_the_task_decides_the_mode_that_was_left_open():
    assert TASKS["vqa"].reward(RewardSettings(rel_weight=0.3)) == RewardConfig(
        mode="hard_plus_soft", rel_weight=0.3
    )
    assert TASKS["caption"].reward(RewardSettings()).mode == "cider"
    assert TASKS["vqa"].reward(RewardSettings(mode="soft_only")).mode == "soft_only"


@pytest.mark.parametrize(
    ("mode", "task"),
    [("cider", "vqa"), ("hard_plus_soft", "caption"), ("legacy", "caption"), ("cider", "multiple_choice")],
)
def test_a_reward_of_the_other_task_is_refused(mode, task):
    with pytest.raises(
        UserError, match=f"REWARD_MODE {mode} is not a reward of the task {task}; unset it or take"
    ):
        TASKS[task].reward(RewardSettings(mode=mode))


@pytest.mark.parametrize("mode", REWARD_MODES)
def test_a_mode_names_the_labels_that_it_reads(mode):
    """One that is read and not named would count as 0 for a task that does not give it."""
    config = RewardConfig(mode=mode, beta=1)
    labels = {"vqa_acc_score": 0.1, "vqa_gt_prob": 0.1, "vqa_rel_score": 0.1, "cider": 0.1}
    low = AnsweredPointer(pointer=(0, 1), vqa_correct=0, **labels)
    unlabeled = AnsweredPointer(pointer=(0, 1))  # some labels are read where others are missing
    moving = {
        label
        for label in get_args(Label)
        for answered in (low, unlabeled)
        if reward(answered.model_copy(update={label: 1}), config) != reward(answered, config)
    }
    assert moving == reads(mode)


def test_a_captions_reward_is_its_cider_clipped():
    config = RewardConfig(mode="cider", hard_weight=3)
    assert reward(AnsweredPointer(pointer=(0, 1), cider=1.25), config) == 1.25
    assert reward(AnsweredPointer(pointer=(0, 1), cider=9.0), config) == 5.0


@pytest.mark.parametrize("mode", [mode for mode in REWARD_MODES if mode != "cider"])
def test_every_reward_is_the_same_exactly_where_all_weights_are_zero(mode: RewardMode) -> None:
    none = RewardConfig(mode=mode, hard_weight=0, soft_weight=0, rel_weight=0)
    right = AnsweredPointer(pointer=(0,), vqa_correct=1, vqa_acc_score=1.0, vqa_gt_prob=0.5, beam_score=0.5)
    wrong = AnsweredPointer(pointer=(0,), vqa_correct=0)
    near = AnsweredPointer(pointer=(0,), vqa_correct=0, vqa_rel_score=0.5)
    assert len({reward(one, none) for one in (right, wrong, near)}) == 1
    for name in weights(mode):
        given = none.model_copy(update={name: 1.0})
        assert len({reward(one, given) for one in (right, wrong, near)}) > 1
