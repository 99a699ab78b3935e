"""The demo data sets on disk: official form, whole, the same every time, and worth choosing demonstrations for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest
from PIL import Image

from icd_assets.datasets.images import require_images
from icd_assets.datasets.vqa import read_split
from icd_assets.demo import dataset
from icd_assets.demo.dataset import (
    PAIRS_TRAIN,
    PAIRS_VALIDATION,
    TRAIN,
    VALIDATION,
    Row,
    Split,
    rows,
    write,
    write_pairs,
)
from icd_assets.demo.world import COLORS, IMAGE_SIZE, LORE, SHAPES, TWO_WORD
from icd_assets.errors import UserError
from icd_assets.runtime.seeding import python_rng


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
    for name, short, size in (("train", "train", 640), ("validation", "val", 1200)):
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


def fingerprint(drawn: list[Row]) -> str:
    facts = [(r.image_id, r.question_id, astuple(r.scene), r.wording.text, r.answers) for r in drawn]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def test_the_earlier_questions_are_still_asked(written: Path) -> None:
    """The two-word kinds came later, and 900 more validation questions: what there was is as it was."""
    assert fingerprint(rows(TRAIN)) == "828dea72c4bfaac5b97668734a97094a3dcae6fd7669d27ae717268f3d753e88"
    first = rows(VALIDATION)[:300]
    assert fingerprint(first) == "dd5dbc510a14de55796f16eb1b690870fdb7d298287ef24992efd3741ac2cdf3"
    for name, digest in (
        ("q_train.json", "21189abba635f639b3be556ba9e82f6a60c2ebc57615b498944ea9f56f370967"),
        ("a_train.json", "055a53ffd10a1a7a370fd9045815fb7ea2e7a77f170302f47c6bb2f26c0a8fdb"),
    ):
        assert hashlib.sha256((written / name).read_bytes()).hexdigest() == digest


def test_pairs_ask_two_words_of_pictures_of_their_own(tmp_path: Path) -> None:
    write_pairs(paths(tmp_path, "train"), paths(tmp_path, "val"))
    seen: set[int] = set()
    for split, short, size in ((PAIRS_TRAIN, "train", 640), (PAIRS_VALIDATION, "val", 1200)):
        files = paths(tmp_path, short)
        read = read_split("demo_pairs", split.name, Path(files.questions), Path(files.annotations), files.images)
        assert len(read) == size
        require_images(read)
        drawn = rows(split)
        asked = Counter(row.wording.kind for row in drawn)
        assert set(asked) == set(TWO_WORD)
        assert min(asked.values()) > 0.28 * size
        images = {row.image_id for row in drawn}
        assert not images & seen
        seen |= images
    assert not seen & {row.image_id for split in (TRAIN, VALIDATION) for row in rows(split)}
    records = json.loads((tmp_path / "a_val.json").read_text())["annotations"]
    assert {record["question_type"] for record in records} == set(TWO_WORD)
    assert all(len(answer["answer"].split()) == 2 for record in records for answer in record["answers"])


def test_pairs_can_be_complemented_and_are_seldom_shown_whole() -> None:
    """In a pool of 64, both words are shown nearly always, by one demonstration in about a third of the pools."""
    library, rng = rows(PAIRS_TRAIN), python_rng(0, "test")
    whole = parts = 0
    queries = rows(PAIRS_VALIDATION)[:400]
    for query in queries:
        kind = [row.scene for row in rng.sample(library, 64) if row.wording.kind == query.wording.kind]
        whole += any((s.shape, s.color) == (query.scene.shape, query.scene.color) for s in kind)
        parts += any(s.shape == query.scene.shape for s in kind) and any(
            s.color == query.scene.color for s in kind
        )
    assert 0.28 < whole / len(queries) < 0.45
    assert parts / len(queries) > 0.9


def test_both_pair_splits_obey_one_knowledge() -> None:
    words: dict[tuple[str, int, int], set[str]] = {}
    for row in (*rows(PAIRS_TRAIN), *rows(PAIRS_VALIDATION)):
        first, second = Counter(row.answers).most_common(1)[0][0].split()
        words.setdefault((row.wording.kind, 0, row.scene.shape), set()).add(first)
        words.setdefault((row.wording.kind, 1, row.scene.color), set()).add(second)
    assert len(words) == len(TWO_WORD) * (len(SHAPES) + len(COLORS))
    assert all(len(said) == 1 for said in words.values())


@pytest.mark.parametrize("split", [TRAIN, PAIRS_TRAIN])
def test_another_draw_has_other_pictures_and_answers(split: Split) -> None:
    usual, other = rows(split), rows(split, 8)
    assert len(other) == len(usual)
    assert fingerprint(other) != fingerprint(usual)
    assert [row.scene for row in other] != [row.scene for row in usual]
    assert {row.wording.kind for row in other} == {row.wording.kind for row in usual}


def test_a_folder_holds_one_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Path) -> None:
    monkeypatch.setenv("DEMO_SEED", "8")
    write_to(tmp_path / "eight")
    assert (tmp_path / "eight/a_train.json").read_bytes() != (written / "a_train.json").read_bytes()
    before = contents(tmp_path / "eight")
    monkeypatch.setenv("DEMO_SEED", "9")
    with pytest.raises(UserError, match=r"q_train\.json is of another draw .*DEMO_SEED=9; set DEMO_PATH"):
        write_to(tmp_path / "eight")
    monkeypatch.delenv("DEMO_SEED")
    (tmp_path / "eight/q_train.json").unlink()
    with pytest.raises(UserError, match=r"a_train\.json is of another draw .*DEMO_SEED=7"):
        write_to(tmp_path / "eight")
    del before["q_train.json"]
    assert contents(tmp_path / "eight") == before


def test_killed_while_drawing_another_draw_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The questions come before the pictures: no picture of one draw is left for another's annotations."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "_write_picture", killed)
    with pytest.raises(KeyboardInterrupt):
        write_to(tmp_path)
    monkeypatch.setenv("DEMO_SEED", "8")
    with pytest.raises(UserError, match="another draw"):
        write_to(tmp_path)


@pytest.mark.parametrize("seed", ["x", "-1", "1.5", "../8", "٣"])
def test_a_seed_is_a_number(seed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_SEED", seed)
    with pytest.raises(UserError, match="DEMO_SEED"):
        write_to(tmp_path)
    assert not contents(tmp_path)


def test_both_splits_obey_one_knowledge() -> None:
    by_question: dict[tuple[int, str], set[str]] = {}
    for row in (*rows(TRAIN), *rows(VALIDATION)):
        if row.wording.kind in LORE:
            most = Counter(row.answers).most_common(1)[0][0]
            by_question.setdefault((row.scene.shape, row.wording.kind), set()).add(most)
    assert all(len(answers) == 1 for answers in by_question.values())


def test_a_place_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set DEMO_PATH"):
        write_to(tmp_path / "file")
    with pytest.raises(UserError, match="set DEMO_PAIRS_PATH"):
        write_pairs(paths(tmp_path / "file", "train"), paths(tmp_path / "file", "val"))
