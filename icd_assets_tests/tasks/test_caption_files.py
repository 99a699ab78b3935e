"""COCO's and Karpathy's caption files as rows, and every way in which they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.tasks.caption.files import read_captions

IMAGES = "images/COCO_train2014_{image_id:012d}.jpg"
COCO = {
    "info": {},
    "images": [{"id": 30, "file_name": "x.jpg"}, {"id": 4}, {"id": 200}],
    "annotations": [
        {"image_id": 200, "id": 1, "caption": "a dog"},
        {"image_id": 4, "id": 9, "caption": " second image,\nfirst caption "},
        {"image_id": 4, "id": 2, "caption": "a cat"},
        {"image_id": 30, "id": 3, "caption": "é"},
        {"image_id": 30, "id": 5, "caption": "  "},
    ],
}


def karpathy(cocoid: int, split: str, *captions: str, plain: bool = False) -> dict:
    sentences = [
        caption if plain else {"tokens": caption.split(), "raw": caption, "imgid": 0, "sentid": at}
        for at, caption in enumerate(captions)
    ]
    return {"filepath": "val2014", "filename": f"COCO_val2014_{cocoid:012d}.jpg", "imgid": 0} | {
        "cocoid": cocoid,
        "split": split,
        "sentences": sentences,
    }


KARPATHY = [
    karpathy(9, "test", "a bus", "a red bus"),
    karpathy(12, "train", "a bird"),
    karpathy(3, "test", "a bike"),
    karpathy(5, "restval", "a boat"),
    karpathy(6, "val", "a cow"),
]


def written(folder: Path, content: object) -> Path:
    path = folder / "captions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_coco_rows_are_images_by_id(tmp_path):
    split = read_captions("coco2014", "train", written(tmp_path, COCO), IMAGES)
    assert [item.image_id for item in split] == [4, 30, 200]
    assert [item.row for item in split] == [0, 1, 2]
    first = split[0]
    assert (first.question, first.answer) == ("", "second image, first caption")
    assert first.answers == ("second image, first caption", "a cat")
    assert (first.question_id, first.image) == (4, Path(IMAGES.format(image_id=4)))
    assert split[1].answers == ("é",)  # a blank caption is none


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_karpathy_takes_one_split(tmp_path, plain, bare):
    images = [
        karpathy(i["cocoid"], i["split"], *[s["raw"] for s in i["sentences"]], plain=plain) for i in KARPATHY
    ]
    path = written(tmp_path, images if bare else {"images": images, "dataset": "coco"})
    test = read_captions("coco_karpathy_split", "validation", path, IMAGES, "test")
    assert [(item.image_id, item.answers) for item in test] == [(3, ("a bike",)), (9, ("a bus", "a red bus"))]
    train = read_captions("coco_karpathy_split", "train", path, IMAGES, "train")
    assert [item.image_id for item in train] == [12]  # restval is left out
    assert train.digest != test.digest


@pytest.mark.parametrize(
    ("content", "part", "sentence"),
    [
        (json.dumps(COCO)[:150], None, "is not complete JSON"),
        ("[1, 2", "test", "is not complete JSON"),
        ({"annotations": []}, None, "has no list 'images' at its top level"),
        ({"images": [{"id": 1}]}, None, "has no list 'annotations' at its top level"),
        ([karpathy(1, "test", "half \ud83d")], "test", "holds half a character"),
        ({"images": [3]}, None, r"images\[0\] is not a record"),
        (COCO | {"images": [*COCO["images"], {"id": 7}]}, None, "image 7 has no captions"),
        (
            COCO | {"images": COCO["images"][:2]},
            None,
            r"annotations\[0\]: image 200 is not among the file's images",
        ),
        (COCO | {"images": [{"id": "4"}]}, None, r"images\[0\]: 'id' is '4'"),
        (COCO | {"annotations": [{"image_id": 4}]}, None, r"annotations\[0\]: a caption is None"),
        ({"images": KARPATHY}, None, r"images\[0\]: 'id' is None"),
        (COCO, "test", r"images\[0\]: 'split' is None, not one of train"),
        ([karpathy(1, "minival", "a dog")], "test", r"'split' is 'minival', not one of train, restval"),
        ([karpathy(1, "test")], "test", "image 1 has no captions"),
        ([karpathy(1, "test", " ")], "test", "image 1 has no captions"),
        ([karpathy(1, "test", "a"), karpathy(1, "test", "b")], "test", "cocoid 1 occurs twice"),
        ([karpathy(1, "train", "a")], "test", "has no images of the split 'test'"),
        ([{"split": "test", "imgid": 3, "sentences": [{"raw": "a"}]}], "test", "'cocoid' is None"),
        ([{"split": "test", "cocoid": 3, "sentences": [{"tokens": []}]}], "test", "a caption is "),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, content, part, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read_captions("coco", "validation", written(tmp_path, content), IMAGES, part)
    assert "captions.json" in str(caught.value)


def test_a_bad_pattern_and_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"does not use \{image_id\}"):
        read_captions("coco", "train", written(tmp_path, COCO), "images/one.jpg")
    with pytest.raises(UserError, match="cannot be read"):
        read_captions("coco", "train", tmp_path / "none.json", IMAGES)
