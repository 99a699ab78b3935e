"""The demo data set on disk: official form, whole, the same every time, and worth choosing demonstrations for."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from icd_assets.datasets.images import require_images
from icd_assets.datasets.vqa import read_split
from icd_assets.demo.dataset import TRAIN, VALIDATION, rows, write
from icd_assets.demo.world import IMAGE_SIZE, LORE, SHAPES
from icd_assets.errors import UserError


@dataclass(frozen=True)
class Paths:
    questions: str
    annotations: str
    images: str


def paths(root: Path, split: str) -> Paths:
    images = f"{root}/{split}/COCO_{split}_{{image_id:012d}}.jpg"
    return Paths(str(root / f"q_{split}.json"), str(root / f"a_{split}.json"), images)


def write_to(root: Path) -> None:
    write(paths(root, "train"), paths(root, "val"))


def contents(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    write_to(root)
    return root


def test_same_bytes_again_and_no_left_overs(written: Path, tmp_path: Path) -> None:
    write_to(tmp_path)
    assert contents(tmp_path) == contents(written)
    assert not any(name.endswith(".tmp") for name in contents(written))


def test_only_what_is_missing_is_written(written: Path, tmp_path: Path) -> None:
    write_to(tmp_path)
    kept = tmp_path / "q_train.json"
    kept.write_text("mine")
    picture = next((tmp_path / "val").iterdir())
    picture.unlink()
    (tmp_path / "a_val.json").unlink()
    write_to(tmp_path)
    assert contents(tmp_path) == contents(written) | {"q_train.json": b"mine"}


def test_official_form(written: Path) -> None:
    questions = json.loads((written / "q_val.json").read_text())
    annotations = json.loads((written / "a_val.json").read_text())
    assert set(questions) == {"info", "task_type", "data_type", "data_subtype", "license", "questions"}
    assert set(annotations) == {"info", "license", "data_type", "data_subtype", "annotations"}
    assert set(questions["questions"][0]) == {"question_id", "image_id", "question"}
    first = annotations["annotations"][0]
    assert set(first) == {"question_id", "image_id", "question_type", "answer_type", "answers"}
    assert len(first["answers"]) >= 10
    assert set(first["answers"][0]) == {"answer_id", "answer", "answer_confidence", "raw_answer"}


def test_the_project_reads_it(written: Path) -> None:
    for name, short, size in (("train", "train", 640), ("validation", "val", 300)):
        files = paths(written, short)
        split = read_split("demo", name, Path(files.questions), Path(files.annotations), files.images)
        assert len(split) == size
        require_images(split)
        with Image.open(split[0].image) as image:
            assert (image.format, image.size) == ("JPEG", (IMAGE_SIZE, IMAGE_SIZE))


def test_splits_share_no_picture_and_some_pictures_have_several_questions() -> None:
    train, validation = rows(TRAIN), rows(VALIDATION)
    assert not {row.image_id for row in train} & {row.image_id for row in validation}
    assert not {row.question_id for row in train} & {row.question_id for row in validation}
    per_picture = Counter(Counter(row.image_id for row in train).values())
    assert set(per_picture) == {1, 2, 3}
    assert [row.question_id for row in train] == sorted({row.question_id for row in train})


def test_every_fact_is_held_out_more_than_once_and_can_be_demonstrated() -> None:
    for split, least in ((TRAIN, 15), (VALIDATION, 2)):
        asked = Counter((row.scene.shape, row.wording.kind) for row in rows(split))
        assert all(asked[shape, kind] >= least for shape in range(len(SHAPES)) for kind in LORE)


def test_both_splits_obey_one_knowledge() -> None:
    by_question: dict[tuple[int, str], set[str]] = {}
    for row in (*rows(TRAIN), *rows(VALIDATION)):
        if row.wording.kind in LORE:
            most = Counter(row.answers).most_common(1)[0][0]
            by_question.setdefault((row.scene.shape, row.wording.kind), set()).add(most)
    assert all(len(answers) == 1 for answers in by_question.values())


def test_a_place_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="DEMO_PATH"):
        write_to(tmp_path / "file")
