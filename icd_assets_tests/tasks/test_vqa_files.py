"""Both layouts, as Lever-Plus users have them: which one is read, and that it does not matter which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import CATALOG, Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets.store.digests import sha256_json
from icd_assets.tasks.vqa.files import SplitSource, VqaFiles, locate_split
from icd_assets_tests.worlds.vqa_files import annotation, joined

CELL = Cell("okvqa", "RandSampler", "tiny_vl")
QUESTIONS = [(30, 3, "What {is} this?"), (10, 1, "Who?"), (20, 1, "Où?")]
ANNOTATIONS = [
    annotation(20, 1, ["b", "a", "a", "b"]),
    annotation(10, 1, ["x", "y", "y"], multiple_choice_answer="official"),
    annotation(30, 3, ["dog"] * 10),
]
VARIABLES = ("OKVQA_PATH", "OKVQA_TRAIN_PATH", "OKVQA_VAL_PATH", "VQAV2_PATH", "COCO_PATH", "COCO_TRAIN_ROOT")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and none of the tester's own datasets."""
    for name in (*VARIABLES, "COCO_VAL_ROOT", "ICD_CATALOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_official(folder: Path, prefix: str = "", split: str = "train2014") -> list[Path]:
    keys = ("question_id", "image_id", "question")
    asked = [dict(zip(keys, question, strict=True)) for question in QUESTIONS]
    return [
        write(folder / f"{prefix}OpenEnded_mscoco_{split}_questions.json", {"questions": asked}),
        write(folder / f"{prefix}mscoco_{split}_annotations.json", {"annotations": ANNOTATIONS}),
    ]


def write_joined(path: Path) -> Path:
    return write(path, {"info": {}, "annotations": joined(QUESTIONS, ANNOTATIONS)})


def experiment(home: Path, dataset: str = "okvqa") -> Experiment:
    return Experiment.open(Cell(dataset, CELL.sampler, CELL.model), Settings(), home / "results")


@pytest.mark.parametrize(("dataset", "prefix"), [("okvqa", ""), ("vqav2", "v2_")])
def test_either_layout_gives_the_same_rows(home, monkeypatch, dataset, prefix):
    for name in ("official", "hf"):
        monkeypatch.setenv(f"{dataset.upper()}_PATH", str(home / name))
        for split in ("train2014", "val2014"):
            if name == "official":
                write_official(home / name, prefix, split)
            else:
                write_joined(home / name / f"{dataset}_hf" / f"vqav2_mscoco_{split}.json")
        found = experiment(home, dataset)
        assert [item.question_id for item in found.data.train] == [10, 20, 30]
        if name == "official":
            first = found
    assert list(first.data.train) == list(found.data.train)
    assert [first.data.validation[row] for row in range(3)] == [found.data.validation[row] for row in range(3)]
    assert found.data.train[2].question == "What {is} this?" and found.data.train[0].answer == "official"
    assert first.data.digest("train") != found.data.digest("train")  # the bytes read are other ones


def test_the_official_pair_goes_before_the_joined_file_and_an_override_before_both(home, monkeypatch):
    questions, annotations = write_official(home / "datasets/okvqa")
    beside = write_joined(home / "datasets/okvqa/okvqa_hf/vqav2_mscoco_train2014.json")
    here = Path("datasets/okvqa")

    def found() -> SplitSource:
        return locate_split(Catalog.load().datasets["okvqa"].train, "okvqa")

    assert found() == SplitSource(here / questions.name, here / annotations.name)
    annotations.unlink()
    assert found() == SplitSource(None, beside.relative_to(home))
    write_official(home / "datasets/okvqa")
    mine = write_joined(home / "mine.json")
    monkeypatch.setenv("OKVQA_TRAIN_PATH", str(mine))
    assert found() == SplitSource(None, mine)
    mine.unlink()
    with pytest.raises(UserError, match=r"mine\.json does not exist, and wins over .*OKVQA_TRAIN_PATH"):
        found()


def test_nothing_there_names_every_path_and_every_variable(home):
    with pytest.raises(UserError) as caught:
        _ = experiment(home).data.validation
    for part in (
        "the validation split of okvqa was not found",
        "datasets/okvqa/OpenEnded_mscoco_val2014_questions.json with ",
        "datasets/okvqa/mscoco_val2014_annotations.json or as ",
        "datasets/okvqa/okvqa_hf/vqav2_mscoco_val2014.json",
        "OKVQA_PATH or OKVQA_VAL_PATH",
    ):
        assert part in str(caught.value)
    write_official(home / "datasets/okvqa", split="val2014")[0].unlink()
    with pytest.raises(UserError, match=r"\(OpenEnded_mscoco_val2014_questions\.json is missing\)"):
        experiment(home).data.digest("validation")


def test_variables_move_images_and_files(home, monkeypatch):
    def images() -> str:
        return Catalog.load().datasets["vqav2"].train.images

    name = "COCO_train2014_{image_id:012d}.jpg"
    assert images() == f"datasets/mscoco/mscoco2014/train2014/{name}"
    monkeypatch.setenv("COCO_PATH", "/coco")
    assert images() == f"/coco/mscoco2014/train2014/{name}"
    monkeypatch.setenv("COCO_TRAIN_ROOT", "~/pictures")
    assert images() == f"{Path.home()}/pictures/{name}"


def overlay(home: Path, monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    """The packaged okvqa entry with other fields, as a user's catalog."""
    packaged = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    content = {"datasets": {"okvqa": packaged["datasets"]["okvqa"] | fields}}
    (home / "mine.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.setenv("ICD_CATALOG", str(home / "mine.yaml"))


def test_the_most_frequent_answer_is_a_switch_and_another_identity(home, monkeypatch):
    paths = [path.relative_to(home) for path in write_official(home / "datasets/okvqa")]
    official = experiment(home)
    assert [item.answer for item in official.data.train] == ["official", "b", "dog"]
    # what was made before there was a switch stays up to date
    plain = sha256_json([[path.name, official.store.digests.file(path)] for path in paths])
    assert official.data.digest("train").data_version == plain
    overlay(home, monkeypatch, answer="most_frequent")
    quirk = experiment(home)
    assert [item.answer for item in quirk.data.train] == ["y", "b", "dog"]
    assert quirk.data.digest("train") != official.data.digest("train")
    assert [item.answer for item in experiment(home).data.train] == ["y", "b", "dog"]  # kept apart


def test_a_digest_parses_nothing(home, monkeypatch):
    write_official(home / "datasets/okvqa")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("icd_assets.datasets.official.read_json", refuse)
    assert experiment(home).data.digest("train").data_version


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"questions": "q"}, "questions and annotations belong together"),
        ({"annotations": "a"}, "questions and annotations belong together"),
        ({}, "no file is named"),
    ],
)
def test_half_an_entry_is_refused(files, sentence):
    with pytest.raises(ValueError, match=sentence):
        VqaFiles(images="i", **files)
    assert VqaFiles(images="i", joined="j").questions is None
