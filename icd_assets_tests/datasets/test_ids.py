"""Texts as ids: kept as they are, in their own order, and never a way out of the images' folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icd_assets.datasets.subset import read_subset
from icd_assets.datasets.vqa import load_split, read_split
from icd_assets.errors import UserError
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery, require_same_questions
from icd_assets.scoring.rl_file import read_rl_data, write_rl_data
from icd_assets.store.digests import DigestCache
from icd_assets_tests.worlds.vqa_files import annotation, write_files

IMAGES = "/data/images/{image_id}"
VIZWIZ, AOKVQA = "VizWiz_val_00000.jpg", "22jbM6gDxdaMaunuzgrsBB"
QUESTIONS = [(VIZWIZ, "a/2.jpg", "Who?"), (AOKVQA, "1.jpg", "Where?"), ("é", "/data/images/3.jpg", "Why?")]
ANNOTATIONS = [annotation(question_id, image_id, ["x"]) for question_id, image_id, _ in QUESTIONS]


def read(folder: Path, questions=QUESTIONS, annotations=ANNOTATIONS, images: str = IMAGES):
    return read_split("mine", "train", *write_files(folder, questions, annotations), images)


def test_a_text_stays_the_questions_id(tmp_path):
    split = read(tmp_path)
    assert [item.question_id for item in split] == [AOKVQA, VIZWIZ, "é"] == split.question_ids.tolist()
    assert [str(item.image) for item in split] == [
        "/data/images/1.jpg",
        "/data/images/a/2.jpg",
        "/data/images/3.jpg",
    ]
    assert split.images == [item.image for item in split]
    assert len(set(split.image_ids.tolist())) == 3 and all(0 <= n < 1 << 53 for n in split.image_ids.tolist())


def test_an_image_has_the_same_number_in_every_split(tmp_path):
    first = read(tmp_path)
    (tmp_path / "other").mkdir()
    other = read(tmp_path / "other", QUESTIONS[:1], ANNOTATIONS[:1])
    assert other.image_ids.tolist() == [first.image_ids.tolist()[1]]


def test_a_kept_split_is_the_same(tmp_path):
    files = write_files(tmp_path, QUESTIONS, ANNOTATIONS)
    how = {"digests": DigestCache(tmp_path / "digests.json"), "folder": tmp_path / "kept"}
    first = load_split("mine", "train", *files, IMAGES, "official", **how)
    again = load_split("mine", "train", *files, IMAGES, "official", **how)
    assert list(first) == list(again) == list(read(tmp_path))
    assert first.digest == again.digest


def test_a_subset_names_texts(tmp_path):
    path = tmp_path / "subset.json"
    path.write_text(json.dumps({"annotations": [{"question_id": VIZWIZ}]}))
    assert read_subset(path, read(tmp_path)) == [1]


@pytest.mark.parametrize(
    ("questions", "says"),
    [
        ([*QUESTIONS, (VIZWIZ, "9.jpg", "Again?")], rf"questions\[3\]: question_id {VIZWIZ} occurs twice"),
        ([(" ", "1.jpg", "?")], "' ', which is no id"),
        ([("a\nb", "1.jpg", "?")], "which is no id"),
        ([("a" * 5000, "1.jpg", "?")], "which is no id"),
        ([(1.5, "1.jpg", "?")], "1.5, not of type int or str"),
        ([(None, "1.jpg", "?")], "None, not of type int or str"),
    ],
)
def test_what_is_no_id(tmp_path, questions, says):
    with pytest.raises(UserError, match=says):
        read(tmp_path, questions, [annotation(q, i, ["x"]) for q, i, _ in questions])


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "/data/images/../x.jpg"])
def test_an_image_does_not_lead_out_of_its_folder(tmp_path, name):
    with pytest.raises(
        UserError, match=r"annotations\.json: the image .* (lies outside /data/images|leads out of)"
    ):
        read(tmp_path, [("q", name, "?")], [annotation("q", name, ["x"])])


def test_numbers_and_texts_do_not_mix(tmp_path):
    mixed = [*QUESTIONS, (7, "4.jpg", "?")]
    with pytest.raises(UserError, match=r"annotations\[3\]: 'question_id' is 7, but 'VizWiz_val_00000.jpg' at"):
        read(tmp_path, mixed, [annotation(q, i, ["x"]) for q, i, _ in mixed])
    with pytest.raises(UserError, match=r"cannot be filled.*write it like images/"):
        read(tmp_path, images="COCO_{image_id:012d}.jpg")


def test_rl_data_name_a_question_by_its_text(tmp_path):
    split = read(tmp_path)
    query = RlQuery(
        row=1,
        question_id=VIZWIZ,
        candidate_pool_ids=(0, 2),
        pointers=(AnsweredPointer(pointer=(0, 1), vqa_correct=1, vqa_acc_score=1.0),),
    )
    path = tmp_path / "rl.json"
    write_rl_data(path, RlData((query,)))
    read_back = read_rl_data(path, n_rows=3)
    assert read_back.queries[0].question_id == VIZWIZ
    require_same_questions(path, read_back, split)
    with pytest.raises(UserError, match=f"query 1 is question {AOKVQA}, but row 1 .* is question {VIZWIZ}"):
        require_same_questions(path, RlData((query.model_copy(update={"question_id": AOKVQA}),)), split)
