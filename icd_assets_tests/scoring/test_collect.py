"""RL data from proposals: what is asked, and every label of the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from icd_assets.scoring.collect import answer_proposals
from icd_assets.scoring.rewards import RewardConfig
from icd_assets.scoring.rl_data import RlData
from icd_assets.scoring.rl_file import read_rl_data, write_rl_data
from icd_assets.scoring.training_rows import training_rows
from icd_assets.selector.proposals import Proposal
from icd_assets.tasks.caption.metric import Cider
from icd_assets.tasks.vqa.metric import VqaAccuracy
from icd_assets.vlm.backend import Refused
from icd_assets.vlm.prompts import Prompt
from icd_assets_tests.worlds.copying_backend import CopyingBackend
from icd_assets_tests.worlds.vqa_files import item

LIBRARY = [item(row, answer=answer) for row, answer in enumerate(["cat", "dog", "dogs", "Answer", "cat"])]
GOLD = ("dog",) * 2 + ("dogs",) * 7 + ("Answer: dog",)
QUERIES = [replace(LIBRARY[0], answers=GOLD), LIBRARY[4]]
POOLS = {0: (1, 2, 3), 4: (0, 2, 1)}
PROPOSALS = {
    0: [
        Proposal((1, 0), "beam", beam_rank=0, beam_score=0.5, logprob_score=-1.0, behavior_logprob=-1.0),
        Proposal((0, 2), "random"),
    ],
    4: [Proposal((2, 0), "sample", temperature=1.3)],
}


def answered(backend: CopyingBackend, **settings):
    return answer_proposals(QUERIES, POOLS, LIBRARY, PROPOSALS, backend, VqaAccuracy(), **settings)


def test_prompts_show_the_pointed_candidates_in_pointer_order():
    backend = CopyingBackend()
    answered(backend, gt_prob=False)
    assert backend.asked == [
        Prompt.of(QUERIES[0], [LIBRARY[2], LIBRARY[1]]),
        Prompt.of(QUERIES[0], [LIBRARY[1], LIBRARY[3]]),
        Prompt.of(QUERIES[1], [LIBRARY[1], LIBRARY[0]]),
    ]
    assert backend.likelihoods == []


def test_labels():
    first, second = answered(CopyingBackend(), gt_prob=False, refresh=2)
    dog, empty = first.pointers
    assert (dog.vqa_raw_generation, dog.vqa_pred_answer) == ("dog, or so", "dog")
    assert (dog.vqa_acc_score, dog.vqa_correct) == (0.6, 1)
    assert (dog.vqa_rel_token_f1, dog.vqa_rel_edit_sim, dog.vqa_rel_score) == (1.0, 1.0, 1.0)
    assert (dog.source, dog.beam_rank, dog.beam_score, dog.behavior_logprob) == ("beam", 0, 0.5, -1.0)
    assert (dog.vqa_eval_mode, dog.eval_split_used, dog.eval_failed, dog.round) == ("vqaEval", "train", False, 2)
    assert dog.vqa_gt_prob is None
    assert (empty.vqa_pred_answer, empty.vqa_acc_score, empty.vqa_rel_score) == ("", 0.0, 0.0)
    assert first.gt_answers_raw == GOLD
    assert first.gt_answers_norm == ("dog",) * 2 + ("dogs",) * 7 + ("",)
    assert (first.row, first.candidate_pool_ids, first.question_id) == (0, (1, 2, 3), 0)
    assert second.pointers[0].vqa_acc_score == 1.0


def test_gt_probability_weighs_distinct_answers():
    backend = CopyingBackend()
    first, second = answered(backend, gt_prob=True)
    assert first.pointers[0].vqa_gt_prob == pytest.approx(0.5 * 2 / 3 + 0.125)
    assert first.pointers[1].vqa_gt_prob == pytest.approx(0.125 * 2 / 3 + 0.125)
    assert second.pointers[0].vqa_gt_prob == pytest.approx(0.5)
    assert [answer for _, answer in backend.likelihoods] == ["dog", "dogs", "dog", "dogs", "cat"]


def test_what_is_made_can_be_written_and_read(tmp_path):
    made = tuple(answered(CopyingBackend(), gt_prob=True))
    write_rl_data(tmp_path / "rl.json", RlData(made))
    assert read_rl_data(tmp_path / "rl.json", n_rows=len(LIBRARY)).queries == made


def test_captions_are_judged_by_cider():
    queries = [replace(query, question="", answers=("a cat", "the black cat")) for query in QUERIES]
    metric = Cider([["a cat", "the black cat"], ["a dog"], ["two dogs"]])
    first, _ = answer_proposals(queries, POOLS, LIBRARY, PROPOSALS, CopyingBackend(), metric, gt_prob=False)
    assert first.pointers[0].vqa_pred_answer == "dog, or so"
    assert [answered.cider for answered in first.pointers] == [0.0, 0.0]
    assert (first.pointers[0].vqa_correct, first.pointers[0].vqa_eval_mode) == (None, None)
    assert first.gt_answers_norm == ("a cat", "the black cat")
    library = [*LIBRARY[:1], replace(LIBRARY[1], answer="black cat"), *LIBRARY[2:]]
    again, _ = answer_proposals(queries, POOLS, library, PROPOSALS, CopyingBackend(), metric, gt_prob=False)
    assert again.pointers[0].cider == metric.scores(["black cat, or so"], [queries[0].answers])[0] > 1


class RefusingBackend(CopyingBackend):
    """Its server does not take the first prompt."""

    def answer(self, prompts, hand_over):
        super().answer(prompts, lambda answers: hand_over({**answers, 0: Refused()}))


def test_a_refused_prompt_is_never_trained_on(tmp_path):
    rows = answered(RefusingBackend(), gt_prob=False)
    refused, other = rows[0].pointers
    assert (refused.eval_failed, refused.vqa_eval_mode, other.eval_failed) == (True, "error", False)
    write_rl_data(tmp_path / "rl.json", RlData(tuple(rows)))
    data = read_rl_data(tmp_path / "rl.json", n_rows=5)
    usable = training_rows(data, RewardConfig(), skip_fallback=True, require_positive=False)
    assert [len(row.rewards) for row in usable] == [1, 1]
