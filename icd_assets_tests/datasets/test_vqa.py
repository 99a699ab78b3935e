"""The rows of a split, and every way in which its files can be wrong."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from icd_assets.datasets.vqa import VqaSplit, read_split
from icd_assets.errors import UserError
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.vqa_files import IMAGES, annotation, write_files

QUESTIONS = [(30, 3, "What {is} this?"), (10, 1, "Who?"), (20, 1, "Où?")]
ANNOTATIONS = [
    annotation(20, 1, ["b", "a", "a", "b"]),
    annotation(10, 1, ["x", "y"], multiple_choice_answer="official"),
    annotation(30, 3, ["dog"] * 10),
]


def read(folder: Path, questions=QUESTIONS, annotations=ANNOTATIONS, images: str = IMAGES) -> VqaSplit:
    return read_split("okvqa", "train", *write_files(folder, questions, annotations), images)


def test_rows_follow_question_id(tmp_path):
    split = read(tmp_path)
    assert [item.question_id for item in split] == [10, 20, 30]
    assert [item.row for item in split] == [0, 1, 2]
    assert split[2].question == "What {is} this?"
    assert split[2].image == Path("images/COCO_train2014_000000000003.jpg")
    assert (len(split), split.dataset, split.split) == (3, "okvqa", "train")
    assert split[-1] == split[2]
    assert [item.row for item in split[1:]] == [1, 2]
    with pytest.raises(IndexError):
        split[3]


def test_answer_is_official_else_the_mode_with_first_seen_winning(tmp_path):
    split = read(tmp_path)
    assert [item.answer for item in split] == ["official", "b", "dog"]
    assert split[1].answers == ("b", "a", "a", "b")


def test_digest_covers_the_bytes_of_both_files(tmp_path):
    split = read(tmp_path)
    both = (tmp_path / "questions.json").read_bytes() + (tmp_path / "annotations.json").read_bytes()
    assert split.digest == hashlib.sha256(both).hexdigest()


def test_missing_types_have_labels(tmp_path):
    bare = {k: v for k, v in annotation(10, 1, ["x"]).items() if k not in ("question_type", "answer_type")}
    split = read(tmp_path, [(10, 1, "Who?")], [bare])
    assert (split[0].question_type, split[0].answer_type) == ("", "other")


@pytest.mark.parametrize(
    ("questions", "annotations", "says"),
    [
        (QUESTIONS, ANNOTATIONS[:2], "1 questions .* no annotation, the first is question_id 30"),
        (QUESTIONS[:2], ANNOTATIONS, r"annotations\[0\]: question_id 20 has no question"),
        ([*QUESTIONS, (10, 1, "Who?")], ANNOTATIONS, r"questions\[3\]: question_id 10 occurs twice"),
        (QUESTIONS, [*ANNOTATIONS, ANNOTATIONS[0]], r"annotations\[3\]: question_id 20 is annotated twice"),
        (QUESTIONS, [annotation(10, 1, []), *ANNOTATIONS[2:]], r"annotations\[0\]: 'answers' is missing or empty"),
        (QUESTIONS, [annotation(10, 7, ["x"])], "is about image 7, but in .* about image 1"),
        ([(10, 1, None)], ANNOTATIONS, "'question' is None, not of type str"),
        ([(True, 1, "Who?")], ANNOTATIONS, "'question_id' is True, not of type int"),
        ([], ANNOTATIONS, "'questions' is not a list of records"),
    ],
)
def test_files_that_do_not_belong_together(tmp_path, questions, annotations, says):
    with pytest.raises(UserError, match=says):
        read(tmp_path, questions, annotations)


def test_an_answer_without_text_is_named(tmp_path):
    broken = annotation(10, 1, ["x", "y"])
    del broken["answers"][1]["answer"]
    with pytest.raises(UserError, match=r"answers\[1\] has no text under the key 'answer'"):
        read(tmp_path, [(10, 1, "Who?")], [broken])


def test_truncated_file_names_file_and_byte(tmp_path):
    questions, annotations = write_files(tmp_path, QUESTIONS, ANNOTATIONS)
    whole = questions.read_text(encoding="utf-8").replace("\\u00f9", "ù")  # two bytes, one character
    cut = whole[: whole.index('"Où') + 3].encode()
    questions.write_bytes(cut)
    start = cut.rindex(b'"')
    with pytest.raises(UserError, match=rf"questions\.json is not complete JSON: .* at byte {start};"):
        read_split("okvqa", "train", questions, annotations, IMAGES)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"annotations": []}', "no key 'questions' at its top level"),
        (b'{"answer": "x"}', "no key 'questions' at its top level"),
        (b"[1]", "no key 'questions' at its top level"),
        (b'{"questions": [1]}', r"questions\[0\] is not a record"),
        (b'{"questions": [{"image_id": 1}]}', r"questions\[0\] has no key 'question_id'"),
        (b"\xff\xd8\xff", "not UTF-8 text .line 1, byte 0."),
        (b"[" * 100_000, "not acceptable JSON"),
        (b'{"questions": ' + b"9" * 5000 + b"}", "not acceptable JSON"),
        (b'{"questions": NaN}', "NaN is not a number"),
        (b"", r"no JSON file \(it is empty\)"),
    ],
)
def test_foreign_and_hostile_files(tmp_path, content, says):
    questions, annotations = write_files(tmp_path, QUESTIONS, ANNOTATIONS)
    questions.write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_split("okvqa", "train", questions, annotations, IMAGES)


def test_absent_file_and_folder(tmp_path):
    questions, annotations = write_files(tmp_path, QUESTIONS, ANNOTATIONS)
    with pytest.raises(UserError, match=r"absent\.json cannot be read"):
        read_split("okvqa", "train", tmp_path / "absent.json", annotations, IMAGES)
    with pytest.raises(UserError, match="cannot be read"):
        read_split("okvqa", "train", questions, tmp_path, IMAGES)


@pytest.mark.parametrize(
    "images", ["COCO_{id:012d}.jpg", "COCO_{image_id:q}.jpg", "COCO_{", "{image_id.x}", "one.jpg"]
)
def test_bad_image_pattern(tmp_path, images):
    with pytest.raises(UserError, match="image pattern"):
        read(tmp_path, images=images)


def test_what_assets_import_stays_light():
    modules = [
        "datasets.vqa",
        "pools",
        "pools.files",
        "scoring.rewards",
        "scoring.rl_file",
        "scoring.training_rows",
        "evaluation.config",
        "evaluation.report",
    ]
    command = program("heavy_imports", *(f"icd_assets.{module}" for module in modules))
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []
