"""A-OKVQA's files as rows, and every way in which they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.tasks.multiple_choice.files import ChoiceFiles, accepted, question_number, read_choices

IMAGES = "val2017/{image_id:012d}.jpg"
# The form of aokvqa_v1p0_val.json.
RECORD = {
    "split": "val",
    "image_id": 461751,
    "question_id": "22jbM6gDxdaMaunuzgrsBB",
    "question": "What is in the motorcyclist's mouth?",
    "choices": ["toothpick", "food", "popsicle stick", "cigarette"],
    "correct_choice_idx": 3,
    "direct_answers": ["cigarette"] * 10,
    "difficult_direct_answer": False,
    "rationales": ["He's smoking while riding."] * 3,
}
OTHER = RECORD | {
    "question_id": "2aVb1kFqjxLkRZGLTDNSGq",
    "image_id": 7,
    "question": "Which  letter\nis it?",
    "choices": ["b", "A.", " c "],
    "correct_choice_idx": 0,
}


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "aokvqa.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(tmp_path: Path, content: object, part: str | None = None):
    return read_choices("aokvqa", "validation", write(tmp_path, content), IMAGES, part)


def test_a_row_shows_its_options_and_answers_with_one(tmp_path):
    split = read(tmp_path, [RECORD, OTHER])
    assert split.question_ids.tolist() == sorted(question_number(r["question_id"]) for r in (RECORD, OTHER))
    row = next(item for item in split if item.image_id == 461751)
    assert row.question == (
        "What is in the motorcyclist's mouth?\nA. toothpick\nB. food\nC. popsicle stick\nD. cigarette"
    )
    assert (row.answer, row.answers) == ("cigarette", ("cigarette", "D"))
    assert row.image == Path("val2017/000000461751.jpg")
    other = next(item for item in split if item.image_id == 7)
    assert other.question == "Which letter is it?\nA. b\nB. A.\nC. c"


def test_order_of_the_file_does_not_matter(tmp_path):
    assert list(read(tmp_path, [RECORD, OTHER])) == list(read(tmp_path, [OTHER, RECORD]))


def test_a_letter_counts_where_it_means_one_option():
    assert accepted(["dog", "cat"], 1) == ("cat", "B")
    assert accepted(["b", "a"], 0) == ("b",)  # A would be the other option's text
    assert accepted(["a", "b"], 0) == ("a", "A")
    assert accepted(["Dog.", "cat", "dog"], 0) == ("Dog.", "A", "C")  # the same option twice


def test_an_id_is_a_number_that_any_json_reader_keeps():
    assert question_number("22jbM6gDxdaMaunuzgrsBB") == question_number("22jbM6gDxdaMaunuzgrsBB")
    assert 0 <= question_number("\ud800") < 1 << 53


def test_one_split_of_a_file_of_several(tmp_path):
    both = [RECORD, OTHER | {"split": "train"}]
    assert [item.image_id for item in read(tmp_path, both, "train")] == [7]
    assert read(tmp_path, both, "train").digest != read(tmp_path, both, "val").digest
    with pytest.raises(UserError, match=r"\[1\] is of the split 'train', others of 'val'; name the split"):
        read(tmp_path, both)
    with pytest.raises(UserError, match="has no question of the split 'test'; fix the dataset's split"):
        read(tmp_path, both, "test")
    assert ChoiceFiles(questions="q", images=IMAGES).parts() == [None]
    assert ChoiceFiles(questions="q", images=IMAGES, split="val").parts() == ["val"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (json.dumps([RECORD])[:200], "is not complete JSON"),  # truncated
        ("", r"is no JSON file \(it is empty\)"),
        ({"questions": []}, "is not a list of questions"),  # VQA's files
        ([], "is not a list of questions"),
        ([RECORD, RECORD], r"\[1\]: question_id '22jbM6gDxdaMaunuzgrsBB' occurs twice"),
        ([["a"]], r"\[0\] is not a record"),
        ([RECORD | {"question_id": 5}], "'question_id' is 5, not of type str"),
        ([RECORD | {"question_id": " "}], "'question_id' is blank"),
        ([RECORD | {"question": None}], "'question' is None, not of type str"),
        ([RECORD | {"question": "\ud800"}], "holds half a character"),
        ([RECORD | {"image_id": True}], "'image_id' is True, not of type int or str"),
        ([RECORD | {"image_id": -1}], "'image_id' is -1, which is no id"),
        ([RECORD | {"image_id": 1 << 70}], "which is no id"),
        ([RECORD | {"choices": ["a"]}], "there are 1 choices, not 2 to 26"),
        ([RECORD | {"choices": ["x"] * 27}], "there are 27 choices"),
        ([RECORD | {"choices": ["a", " "]}], r"choices\[1\] is ' ', which shows nothing"),
        ([RECORD | {"choices": ["a", {"text": "b"}]}], r"choices\[1\] is .*which shows nothing"),
        ([RECORD | {"choices": "abcd"}], "'choices' is 'abcd', not of type list"),
        ([RECORD | {"correct_choice_idx": 4}], "'correct_choice_idx' is 4, but there are 4 choices"),
        ([RECORD | {"correct_choice_idx": -1}], "'correct_choice_idx' is -1"),
        ([RECORD | {"correct_choice_idx": True}], "'correct_choice_idx' is True, not of type int"),
        ([{k: v for k, v in RECORD.items() if k != "correct_choice_idx"}], "as in A-OKVQA's test split"),
        ([{k: v for k, v in RECORD.items() if k != "choices"}], "'choices' is missing"),
        ([RECORD | {"split": 3}], "'split' is 3, not of type str"),
        ("[" * 100_000, "is not acceptable JSON"),  # hostile
        ('[{"image_id": NaN}]', "NaN is not a number"),
        ('[{"image_id": 1' + "0" * 5000 + "}]", "is not acceptable JSON"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, content, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
