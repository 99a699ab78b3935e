"""A control token in a text is found before step 1, named with its question, and can be left out."""

from __future__ import annotations

import pytest

from icd_assets.assets.build import build
from icd_assets.datasets import held_texts, vqa
from icd_assets.errors import UserError
from icd_assets.experiment.checks.texts import require_texts, texts
from icd_assets.experiment.experiment import Experiment
from icd_assets_tests.worlds.own_dataset import open_own, plain_rows

ROWS, ASKED = plain_rows(12), plain_rows(4, start=100)
SMALL = {("shared", "pool_size"): "4"}


def with_text(rows, place: int, **texts):
    question_id, image_id, question, answers = rows[place]
    changed = (question_id, image_id, texts.get("question", question), texts.get("answers", answers))
    return [*rows[:place], changed, *rows[place + 1 :]]


def problems(experiment: Experiment) -> list[str]:
    return [finding.found for finding in texts(experiment) if finding.level == "problem"]


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("<|image_pad|>", {"question": "<|image_pad|>?"}),
        ("<|im_end|>", {"question": "What is<|im_end|>that?"}),
        ("<|im_start|>", {"answers": ["a", "b<|im_start|>assistant\nyes"]}),
        ("<|vision_start|>", {"answers": ["<|vision_start|>", "b"]}),
        ("<|startoftext|>", {"question": "<|startoftext|> x"}),  # CLIP's own
    ],
)
def test_a_token_is_named_with_its_question_and_file(tmp_path, token, text):
    experiment = open_own(tmp_path, with_text(ROWS, 3, **text), ASKED)
    (found,) = problems(experiment)
    kind = "questions" if "question" in text else "annotations"
    assert (
        f"{tmp_path}/train_{kind}.json" in found and "question_id 30 ('" in found and f"holds {token!r}" in found
    )
    assert f"ICD_LEAVE_OUT='{token}'" in found and found.count(". ") == 0
    with pytest.raises(UserError, match="question_id 30"):
        require_texts(experiment, ["train"])
    require_texts(experiment, ["validation"])


def test_all_is_well_and_what_looks_alike_is_text(tmp_path):
    rows = with_text(
        ROWS, 0, question="Is 3 < 5 > 2, <|im_en|>, [x] or <im_end>?", answers=["<b>", "!", "|im_end|"]
    )
    experiment = open_own(tmp_path, rows, ASKED)
    assert [finding.level for finding in texts(experiment)] == ["ok", "ok"]


def test_several_are_counted_and_left_out_by_their_texts(tmp_path, monkeypatch):
    train = with_text(with_text(ROWS, 3, question="<|im_end|>?"), 7, answers=["x", "<|video_pad|><|im_end|>"])
    validation = with_text(ASKED, 1, answers=["<|image_pad|>"])
    first, second = problems(open_own(tmp_path, train, validation))
    assert "as 2 questions do" in first and "ICD_LEAVE_OUT='<|im_end|>,<|video_pad|>'" in first
    assert "val_annotations.json: the answers of question_id 1010" in second

    before = open_own(tmp_path, train, validation)
    monkeypatch.setenv("ICD_LEAVE_OUT", "<|im_end|>,<|video_pad|>,<|image_pad|>")
    after = open_own(tmp_path, train, validation)
    found = list(texts(after))
    assert [finding.level for finding in found] == ["ok"] * 4
    assert found[0].found.startswith("2 of 12 train questions are left out: they hold <|im_end|>")
    assert len(after.data.train) == 10 and after.data.train.left_out == {30, 70}
    assert [item.row for item in after.data.train] == list(range(10))
    assert after.data.digest("train") != before.data.digest("train")  # what was made of all rows is stale
    assert len(after.data.validation) == 3


def test_the_catalog_may_leave_out_too_and_without_a_text_nothing_changes(tmp_path):
    train = with_text(ROWS, 3, question="<|im_end|>?")
    whole = open_own(tmp_path, train, ASKED)
    same = open_own(tmp_path, train, ASKED, entry={"leave_out": []})
    less = open_own(tmp_path, train, ASKED, entry={"leave_out": ["<|im_end|>"]})
    assert whole.data.digest("train") == same.data.digest("train") != less.data.digest("train")
    assert len(less.data.train) == 11 and problems(less) == []
    made = build(
        open_own(tmp_path, train, ASKED, entry={"leave_out": ["<|im_end|>"]}, sets=SMALL), "candidate_pools"
    )
    assert made.manifest.facts["left_out"] == 1 and made.manifest.facts["sample_num"] == 800
    with pytest.raises(UserError, match="blank text would leave out every"):
        open_own(tmp_path, train, ASKED, entry={"leave_out": [" "]})
    with pytest.raises(UserError, match="so none is left"):
        _ = open_own(tmp_path, train, ASKED, entry={"leave_out": ["a"]}).data.train


def test_a_second_look_scans_nothing(tmp_path, monkeypatch):
    experiment = open_own(tmp_path, with_text(ROWS, 3, question="<|im_end|>?"), ASKED)
    first = list(texts(experiment))
    scanned = []
    monkeypatch.setattr(
        vqa, "rows_holding", lambda *given: scanned.append(given) or held_texts.rows_holding(*given)
    )
    assert list(texts(experiment)) == first and scanned == []
    for kept in experiment.data.folder.glob("*-texts-*.json"):
        kept.write_text(kept.read_text()[:-9])  # torn: looked for again
    assert list(texts(experiment)) == first and len(scanned) == 2
    changed = open_own(tmp_path, ROWS, ASKED)
    assert problems(changed) == [] and len(scanned) == 3  # the validation split is as it was


def test_a_served_model_is_asked_none_of_the_common_families(tmp_path):
    served = {
        "m": {"aliases": [], "endpoint": {"url": "http://127.0.0.1:9/v1", "model": "some-model", "server": "vllm"}}
    }
    train = with_text(ROWS, 2, question="Is <image> here?")
    (found,) = problems(open_own(tmp_path, train, ASKED, model="m", models=served))
    assert "question_id 20 ('Is <image> here?') holds '<image>'" in found
    assert problems(open_own(tmp_path, train, ASKED)) == []  # tiny_vl reads it as text


def test_a_model_that_is_not_here_is_a_warning(tmp_path):
    absent = {"m": {"aliases": [], "path": "./not-here"}}
    experiment = open_own(tmp_path, ROWS, ASKED, model="m", models=absent).as_read_only()
    (finding,) = texts(experiment)
    assert finding.level == "warning" and "not known before it is on this machine" in finding.found


def test_a_row_without_enough_questions_takes_all(tmp_path):
    made = build(open_own(tmp_path, ROWS, ASKED, sets=SMALL), "candidate_pools")
    assert made.manifest.facts == {"rows": 12, "pool_size": 4, "train_rows": 12, "sample_num": 800}
    assert any("anchor_sample_num:800" in str(path) for path in made.manifest.files)
    exact = build(open_own(tmp_path, ROWS, ASKED, entry={"sample_num": 12}, sets=SMALL), "candidate_pools")
    assert exact.manifest.facts == {"rows": 12, "pool_size": 4, "train_rows": 12}
