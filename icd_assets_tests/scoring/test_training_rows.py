"""Which pointers training sees, and how much signal there is in them."""

from __future__ import annotations

import pytest

from icd_assets.errors import UserError
from icd_assets.scoring.rewards import RewardConfig
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery
from icd_assets.scoring.rl_signal import signal
from icd_assets.scoring.training_rows import training_rows


def answered(pointer, score, mode: str | None = "vqaEval", source="beam", **more) -> AnsweredPointer:
    return AnsweredPointer(
        pointer=pointer,
        source=source,
        vqa_acc_score=score,
        vqa_correct=int(score > 0),
        vqa_eval_mode=mode,
        **more,
    )


def asked(row: int, *pointers: AnsweredPointer) -> RlQuery:
    return RlQuery(row=row, candidate_pool_ids=POOL, pointers=pointers)


POOL = (10, 11, 12)
DATA = RlData(
    (
        asked(5, answered((0, 1), 0.6, behavior_logprob=-2.0), answered((1, 2), 0.0, source="random")),
        asked(2, answered((0, 1), 0.0), answered((2, 1), 0.0)),
        asked(7, answered((0, 1), 1.0, "fallback"), answered((1, 0), 0.3, None)),
        asked(8, answered((0, 1), 1.0, eval_failed=True), answered((1, 0), 1.0, "error")),
        asked(9),
    )
)


def test_rows_carry_raw_rewards_in_file_order():
    rows = training_rows(DATA, RewardConfig())
    assert [row.query_row for row in rows] == [5, 2, 7]
    assert rows[0].pool_ids == POOL
    assert rows[0].pointers == ((0, 1), (1, 2))
    assert rows[0].rewards == (1.6, 0.0)
    assert rows[0].behavior_logprobs == (-2.0, None)
    assert rows[2].pointers == ((1, 0),)  # the fallback is out, a file without modes passes


def test_fallbacks_can_be_kept():
    rows = training_rows(DATA, RewardConfig(), skip_fallback=False)
    assert rows[2].pointers == ((0, 1), (1, 0))


def test_require_positive_asks_for_a_correct_answer_not_for_a_reward():
    config = RewardConfig(hard_weight=0.1, soft_weight=0.1)  # no reward reaches 1
    rows = training_rows(DATA, config, require_positive=True)
    assert [row.query_row for row in rows] == [5, 7]


def test_signal():
    found = signal(DATA, RewardConfig())
    assert (found.queries, found.pointers) == (5, 7)
    assert found.share_with_reward_levels == 2 / 5
    assert found.share_with_positive == 3 / 5
    assert abs(found.mean_reward - (1.6 + 2 + 1.3 + 2) / 7) < 1e-12
    assert found.pointers_by_source == {"beam": 6, "random": 1}
    assert found.score_by_source["random"] == 0.0
    assert abs(found.score_by_source["beam"] - (0.6 + 1 + 0.3 + 1) / 6) < 1e-12
    assert signal(RlData(()), RewardConfig()).mean_reward == 0.0


def test_a_reward_of_probabilities_that_were_not_measured_is_refused():
    with pytest.raises(
        UserError, match=r"hard01_plus_gtprob needs vqa_gt_prob, but query \d+ .*rl_data\.gt_prob=true"
    ):
        training_rows(DATA, RewardConfig(mode="hard01_plus_gtprob"))


def test_captions_are_rewarded_by_their_cider_alone():
    query = asked(
        5,
        AnsweredPointer(pointer=(0, 1), source="beam", cider=1.5),
        AnsweredPointer(pointer=(1, 2), source="random", cider=0.0),
    )
    config = RewardConfig(mode="cider")
    (row,) = training_rows(RlData((query,)), config)
    assert row.rewards == (1.5, 0.0)
    found = signal(RlData((query,)), config)
    assert found.score_by_source == {"beam": 1.5, "random": 0.0}
    assert (found.share_with_positive, found.share_with_reward_levels) == (None, 1.0)
    with pytest.raises(UserError, match=r"REQUIRE_POSITIVE_QUERY asks .* reward mode cider knows none"):
        training_rows(RlData((query,)), config, require_positive=True)


def test_vqa_data_cannot_be_rewarded_by_cider():
    with pytest.raises(UserError, match="reward mode cider needs 'cider', but query 5 of the RL data"):
        training_rows(DATA, RewardConfig(mode="cider"))
