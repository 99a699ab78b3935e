"""What stops a run after RL data says which numbers, which answers, what helps; and a later plan says it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from icd_assets.experiment.checks import judges
from icd_assets.experiment.checks.judges import Verdict, judged, without_signal
from icd_assets.experiment.checks.look import Look
from icd_assets.experiment.plan import Plan, Planned
from icd_assets.experiment.steps import STEP, STEPS
from icd_assets.scoring.rewards import RewardConfig
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery
from icd_assets_tests.worlds.manifests import World, new_world


def data(answers: Sequence[Sequence[tuple[str, float]]], raw: str | None = None) -> RlData:
    """One query per list of (answer, accuracy); annotators say red."""
    queries = []
    for row, own in enumerate(answers):
        pointers = tuple(
            AnsweredPointer(
                pointer=(place, place + 1),
                vqa_raw_generation=raw if raw is not None else text,
                vqa_pred_answer=text,
                vqa_correct=int(accuracy > 0),
                vqa_acc_score=accuracy,
                vqa_eval_mode="vqaEval",
            )
            for place, (text, accuracy) in enumerate(own)
        )
        pool = tuple(range(100, 120))
        queries.append(RlQuery(row=row, candidate_pool_ids=pool, pointers=pointers, gt_answers_raw=("red",) * 10))
    return RlData(tuple(queries))


def sentence(found: RlData, **reward: object) -> str:
    config = RewardConfig(**reward)  # type: ignore[arg-type]
    return without_signal(found, config, sum(len(query.pointers) for query in found.queries))


def test_a_model_that_says_one_thing() -> None:
    said = sentence(data([[("black", 0.0)] * 12 + [("nuts", 0.0)] * 3] * 240))
    assert "no pointer of 3,600 in 240 queries was ever right" in said
    assert "the model answered 'black' 2,880 times, 'nuts' 720 times of 3,600" in said
    assert "the annotators' most frequent answers are 'red'" in said
    assert "doctor --smoke" in said
    assert "--reward-mode hard_plus_gtprob_plus_rel" in said


def test_one_answer_that_is_sometimes_right_by_chance() -> None:
    said = sentence(data([[("black", 0.0)] * 9] * 9 + [[("black", 1.0)] * 9]))
    assert "9 of 90 pointers were right, but in each of 10 queries all pointers earn the same reward" in said
    assert "doctor --smoke" in said


def test_all_right_and_a_few_pointers() -> None:
    assert "every one of its 6 pointers was right" in sentence(data([[("red", 1.0)] * 3] * 2))
    mixed = data([[("red", 1.0)], [("blue", 0.0)], [("green", 0.0)], [("pink", 0.0)]])
    assert "--set rl_data.num_random=4" in sentence(mixed)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("Question:what color is it? Short answer: red", "(it wrote 'Question:what color is it? Short answer:…')"),
        ("", "(it wrote nothing)"),
    ],
)
def test_what_is_cut_away_from_an_empty_answer_is_shown(raw: str, said: str) -> None:
    assert said in sentence(data([[("", 0.0)] * 4] * 3, raw=raw))


def test_nothing_to_judge() -> None:
    assert "no pointer; make it again with --force rl_data" in sentence(RlData(()))


# ---- a later plan -------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def plan(world: World, *made: str, **settings: str) -> Look:
    experiment = world.experiment(GRPO_EPOCHS="3", **settings)
    steps = tuple(Planned(step, "missing" if step.name in made else None, "made") for step in STEPS)
    return Look(Plan(experiment, steps))


def test_what_a_plan_builds_on_is_judged_before_its_first_step(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.cell()
    calls: list[str] = []

    def bad(experiment: object) -> Verdict:
        calls.append("rl_data")
        return Verdict({}, "no pointer was ever right; take another model")

    monkeypatch.setitem(judges.JUDGES, "rl_data", bad)
    monkeypatch.setitem(judges.JUDGES, "v2_checkpoint", lambda experiment: Verdict())
    for _ in range(2):  # the second is remembered, and says the same
        found = {finding.subject: finding for finding in judged(plan(world, "rce_checkpoints"))}
        assert found["rl_data"].level == "problem"
        assert found["rl_data"].found == (
            "rl_data is made, but nothing can be built on it: no pointer was ever right; take another model."
        )
        assert found["v2_checkpoint"].level == "ok"
    assert calls == ["rl_data"]
    list(judged(plan(world, "rce_checkpoints", REWARD_MODE="soft_only")))
    assert calls == ["rl_data", "rl_data"]  # another reward may tell answers apart


def test_what_is_made_anew_or_not_built_on_is_not_judged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.cell()
    for asset in judges.JUDGES:
        monkeypatch.setitem(judges.JUDGES, asset, None)  # would fail
    assert list(judged(plan(world))) == []
    assert list(judged(plan(world, *STEP))) == []


def test_a_file_that_is_no_rl_data_is_its_readers_sentence(world: World) -> None:
    experiment = world.cell()
    (path,) = experiment.files("v2_checkpoint")[:1]
    verdict = judges.judge(experiment, "v2_checkpoint")
    assert verdict.reason is not None
    assert path.name in verdict.reason
    assert not verdict.reason.endswith(".")
