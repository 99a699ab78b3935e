"""A folder of questions becomes an entry that the pipeline reads, in every layout that people keep."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from icd_assets.cli.new_dataset import new_dataset
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings
from icd_assets_tests.worlds.own_dataset import write_picture, write_split
from icd_assets_tests.worlds.vqa_files import annotation

New = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, beside which they work."""
    monkeypatch.delenv("ICD_CATALOG", raising=False)
    (tmp_path / "signs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "signs"


def new(*arguments: str) -> str:
    """What the command prints; a user's mistake is raised."""
    result = CliRunner().invoke(new_dataset, ["signs", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        new(*arguments)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    return said


def opened(name: str = "signs", overlay: str = "catalog.yaml") -> Experiment:
    catalog = Catalog.load(Path(overlay).absolute())
    return Experiment.open(
        catalog.cell(name, "rand_sampler", "tiny_vl"), Settings(), Path("results").absolute(), catalog
    )


def pictures(folder: Path, names: list[str]) -> None:
    for name in names:
        write_picture(folder / name)


def records(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"image": f"{n}.png", "question": f"What is {n}?", "answer": f"a{n % 3}", **more} for n in range(count)
    ]


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",", encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


# ---- layouts


def test_paths_that_begin_with_the_folders_own_name(data):
    write_csv(data / "d.csv", [{**row, "image": f"signs/img/{row['image']}"} for row in records(8)])
    pictures(data / "img", [f"{n}.png" for n in range(8)])
    assert "missing" not in new()
    assert opened().data.train[0].image.is_file()


@pytest.mark.parametrize(
    ("before", "after", "advice"),
    [
        ("", "JPG", "img/0.JPG is there, of other letters: give one of them the other's name"),
        ("/home/ann/img/", "jpg", "img/0.jpg is there: write the paths so that they begin at a folder here"),
        ("C:\\img\\", "jpg", "img/0.jpg is there: write the paths so that they begin at a folder here"),
        ("https://x.org/other", "jpg", "download them, and write their files' names in place of the addresses"),
        ("other", "jpg", "put them there, or say where they are: --images FOLDER"),
    ],
)
def test_images_that_are_there_by_another_name(data, before, after, advice):
    write_csv(data / "d.csv", [{**row, "image": f"{before}{n}.jpg"} for n, row in enumerate(records(8))])
    pictures(data / "img", [f"{n}.{after}" for n in range(8)])
    assert advice in refused("--share", "0.99")


def test_shards_of_a_split_are_named(data):
    for shard in range(2):
        write_csv(data / f"train-0000{shard}-of-00002.csv", records(4))
    assert "are shards of one split; write them into one file" in refused()


def test_one_csv_is_shared_out_by_its_images(data):
    rows = [{**row, "image": f"{n // 2}.png"} for n, row in enumerate(records(40))]
    write_csv(data / "all.csv", rows)
    pictures(data / "images", [f"{n}.png" for n in range(20)])
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    said = new()
    assert "all.csv alone: 80% of its images are train, the others validation (--share)" in said
    assert "train: 32 questions on 16 images, 1 answer each (all.csv)" in said
    assert "validation: 8 questions on 4 images" in said
    assert "export ICD_CATALOG=" in said and "--set shared.pool_size=30" in said
    train, validation = opened().data.train, opened().data.validation
    assert (len(train), len(validation)) == (32, 8) and all(path.is_file() for path in train.images)
    assert not set(train.images) & set(validation.images)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
    assert opened().dataset.sample_num == 32


def test_official_pairs_and_their_numbered_images(data):
    for name in ("train", "val"):
        write_split(data / name, name, [(10 + n, 100 + n, f"q {n}?", ["a", "b"]) for n in range(6)])
        for path in (data / name / "images").glob("*.jpg"):
            path.rename(data / name / "images" / f"COCO_{name}2014_{int(path.stem):012d}.jpg")
    said = new()
    assert "splits by their names (validation is evaluated)" in said and "2 answers each" in said
    entry = opened().dataset
    assert entry.train.images.endswith("train/images/COCO_train2014_{image_id:012d}.jpg")
    assert entry.validation.images.endswith("val/images/COCO_val2014_{image_id:012d}.jpg")
    assert entry.train.questions.endswith("train/train_questions.json")


def test_joined_files(data):
    for name in ("train2014", "val2014"):
        found = [{**annotation(n, n, ["x"]), "question": f"q {n}?"} for n in range(4)]
        write_json(data / f"vqav2_mscoco_{name}.json", {"info": {}, "annotations": found})
        pictures(data / name, [f"{n}.png" for n in range(4)])
    assert "train: 4 questions" in new()
    assert opened().data.validation[3].image == data / "val2014" / "3.png"


def test_easy_vqa(data):
    for split in ("train", "test"):
        rows = [[f"what is {n}?", "circle" if n % 2 else "red", n // 3] for n in range(12)]
        write_json(data / "data" / split / "questions.json", rows)
        pictures(data / "data" / split / "images", [f"{n}.png" for n in range(4)])
    (data / "data" / "answers.txt").write_text("circle\nred\n")
    said = new("--name", "easy")
    assert "splits by their names (test is evaluated)" in said and "'red' 50%" in said
    train = opened("easy").data.train
    assert len(train) == 12 and train[3].image == data / "data" / "train" / "images" / "1.png"
    assert opened("easy").data.validation[0].image.is_relative_to(data / "data" / "test")


def test_vizwiz_names_its_images_by_texts(data):
    for split in ("train", "val"):
        names = [f"VizWiz_{split}_{n:08d}.jpg" for n in range(5)]
        rows = [
            {"image": name, "question": "What is this?", "answerable": 1, "answer_type": "other",
             "answers": [{"answer": "basil", "answer_confidence": "yes"}, {"answer": "leaf"}]}
            for name in names
        ]  # fmt: skip
        write_json(data / "annotations" / f"{split}.json", rows)
        pictures(data / split, names)
    new()
    assert opened().data.train[1].answers == ("basil", "leaf")
    assert opened().data.validation[4].image == data / "val" / "VizWiz_val_00000004.jpg"


def test_aokvqa_is_either_task(data):
    for split in ("train", "val"):
        rows = [
            {"split": split, "image_id": n, "question_id": f"22jb{n}", "question": "Where?", "choices": ["a", "b"],
             "correct_choice_idx": 1, "direct_answers": ["b", "b", "c"]}
            for n in range(4)
        ]  # fmt: skip
        write_json(data / f"aokvqa_v1p0_{split}.json", rows)
        pictures(data / f"{split}2017", [f"{n:012d}.jpg" for n in range(4)])
    assert "say what to train on: --task vqa or --task multiple_choice" in refused()
    new("--task", "vqa")
    assert opened().data.train[2].question_id == "22jb2" and opened().data.train[2].answers == ("b", "b", "c")
    new("--task", "multiple_choice", "--name", "choices")
    assert opened("choices").data.train[0].answer == "b" and len(opened("choices").data.validation) == 4


def test_coco_captions(data):
    for split in ("train", "val"):
        images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(3)]
        captions = [{"image_id": n, "id": n, "caption": f"a {n}"} for n in range(3)]
        write_json(data / f"captions_{split}2017.json", {"images": images, "annotations": captions})
        pictures(data / f"{split}2017", [f"{n:012d}.jpg" for n in range(3)])
    assert "doctor caption signs 0" in new()
    assert opened().data.train[1].answer == "a 1"


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "parquet", "wrapped", "keyed", "semicolons", "latin"])
def test_tables_of_every_kind(data, kind):
    rows = records(10)
    pictures(data / "img", [f"{n}.png" for n in range(10)])
    flags: list[str] = []
    match kind:
        case "tsv":
            write_csv(data / "d.tsv", rows, "\t", "utf-8-sig")
        case "jsonl":
            (data / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
        case "parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), data / "d.parquet")
        case "wrapped":
            write_json(data / "d.json", {"version": 2, "data": rows})
        case "keyed":
            write_json(data / "d.json", {f"q{n}": row for n, row in enumerate(rows)})
        case "semicolons":
            write_csv(data / "d.csv", [{**row, "question": "Which, or\nwhat?"} for row in rows], ";", "utf-16")
        case "latin":
            write_csv(data / "d.csv", [{**row, "answer": "là"} for row in rows], ";", "latin-1")
            assert "d.csv is not UTF-8 text (line 2" in refused()
            flags = ["--encoding", "latin-1"]
    new(*flags)
    assert len(opened().data.train) == 8 and all(path.is_file() for path in opened().data.train.images)
    if kind == "keyed":
        assert opened().data.train[0].question_id in {f"q{n}" for n in range(10)}


def test_a_split_column_decides(data):
    rows = [{**row, "split": "test" if n % 4 == 0 else "train"} for n, row in enumerate(records(12))]
    write_csv(data / "d.csv", rows)
    pictures(data, [f"{n}.png" for n in range(12)])
    assert "by the column 'split' of d.csv" in new()
    assert (len(opened().data.train), len(opened().data.validation)) == (9, 3)


def test_answers_may_stand_in_several_columns(data):
    rows = [{"image": f"{n}.png", "question": f"{n}?", "r1": "a", "r2": "b"} for n in range(10)]
    write_csv(data / "d.csv", rows)
    pictures(data, [f"{n}.png" for n in range(10)])
    new("--columns", "answers=r1,answers=r2")
    assert opened().data.train[0].answers == ("a", "b")


def test_records_of_json_may_lack_what_they_have_no_value_for(data):
    rows = records(10)
    rows[3]["question_type"] = "which"
    write_json(data / "d.json", rows)
    pictures(data, [f"{n}.png" for n in range(10)])
    new()
    kinds = {item.question_type for split in (opened().data.train, opened().data.validation) for item in split}
    assert kinds == {"", "which"}


def test_other_names_of_columns_are_said_by_flags(data):
    write_csv(data / "d.csv", [{"frage": f"q{n}?", "bild": f"{n}.png", "antwort": "ja"} for n in range(10)])
    pictures(data / "fotos", [f"{n}.png" for n in range(10)])
    assert "none of d.csv holds questions with answers and images by its columns' names" in refused()
    assert "has the columns frage, bild, antwort, none of which is question" in refused("--train", "signs/d.csv")
    new("--columns", "question=frage,image_id=bild", "--columns", "answers=antwort")
    assert opened().data.train[0].answer == "ja"
    assert "write ROLE=COLUMN" in refused("--columns", "colour=x", "--name", "x")


def test_absolute_paths_within_and_without(data):
    pictures(data / "images", [f"{n}.png" for n in range(10)])
    pictures(data.parent / "photos", [f"{n}.png" for n in range(10)])
    write_csv(data / "in.csv", [{**row, "image": str(data / "images" / row["image"])} for row in records(10)])
    new("--name", "within")
    assert all(path.is_file() for path in opened("within").data.train.images)
    outside = [{**row, "image": str(data.parent / "photos" / row["image"])} for row in records(10)]
    write_csv(data / "in.csv", outside)
    new("--name", "without")
    assert opened("without").dataset.train.images == f"{data.parent}/photos/{{image_id}}"
    write_csv(data / "in.csv", [{**row, "image": "../photos/" + row["image"]} for row in records(10)])
    assert "in.csv: the image '../photos/0.png' leads out" in refused("--name", "climbing")


def test_links_are_followed_once(data):
    pictures(data.parent / "store" / "big", [f"{n}.png" for n in range(10)])
    (data / "images").symlink_to(data.parent / "store")
    (data.parent / "store" / "loop").symlink_to(data)
    (data / "gone.csv").symlink_to(data / "nowhere.csv")
    write_csv(data.parent / "real.csv", records(10))
    (data / "d.csv").symlink_to(data.parent / "real.csv")
    new()
    assert all(path.is_file() for path in opened().data.train.images)


# ---- what is wrong


def test_missing_images_are_counted_and_three_named(data):
    write_csv(data / "d.csv", records(20))
    pictures(data / "images", [f"{n}.png" for n in range(20)])
    write_csv(data / "d.csv", records(40))
    said = new("--share", ".5")
    found = [int(line.split()[1]) for line in said.splitlines() if line.startswith("  missing: ")]
    assert sum(found) == 20 and "of 20 images, at which train will stop: " in said
    assert all(line.count(".png") == 3 for line in said.splitlines() if line.startswith("  missing: "))
    for path in (data / "images").iterdir():
        path.unlink()
    assert "none of its 16 images (the first: '" in refused("--name", "none", "--share", ".4")


def test_questions_without_answers_are_left_out_and_counted(data):
    rows = records(20)
    for row in rows[:3]:
        row["answer"] = ""
    write_csv(data / "d.csv", rows)
    pictures(data, [f"{n}.png" for n in range(20)])
    assert "left out: 3 questions without an answer" in new()
    split = opened().data
    assert len(split.train) + len(split.validation) == 17
    write_csv(data / "d.csv", [{**row, "answer": "nan"} for row in rows])
    assert "has no answered question" in refused("--name", "other")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda data: None, "holds no CSV, TSV, JSON, JSONL or Parquet file"),
        (lambda data: (data / "d.json").write_text('[{"question": "Who'), "d.json is not complete JSON"),
        (lambda data: (data / "d.json").write_text("[" * 100_000), "is not acceptable JSON"),
        (lambda data: (data / "d.csv").write_text(""), "d.csv is empty"),
        (lambda data: write_json(data / "config.json", {"a": 1}), "none of config.json holds questions"),
        (lambda data: os.mkfifo(data / "d.csv"), "holds no CSV"),
        (lambda data: write_csv(data / "d.csv", [{**row, "id": "q7"} for row in records(3)]), "'q7' occurs twice"),
        (
            lambda data: [write_csv(data / f"{name}.csv", records(4)) for name in "ab"],
            "several files of questions (a.csv, b.csv), and no names of splits; say which: --train FILE",
        ),
        (
            lambda data: [write_csv(data / place / "train.csv", records(4)) for place in "ab"],
            "a/train.csv and b/train.csv could each be one split; say which: --train FILE",
        ),
    ],
)
def test_a_folder_that_is_no_dataset_is_one_sentence(data, prepare, says):
    prepare(data)
    assert says in refused()
    assert not Path("catalog.yaml").exists()


def test_files_named_by_the_user_need_no_names_of_splits(data):
    for name in "ab":
        write_csv(data / f"{name}.csv", records(4))
    pictures(data, [f"{n}.png" for n in range(4)])
    assert "splits as you named them" in new("--train", "signs/a.csv", "--validation", "signs/b.csv")
    assert "without --train" in refused("--validation", "signs/b.csv", "--name", "x")
    assert "signs/c.csv does not exist" in refused("--train", "signs/c.csv", "--name", "x")


def test_flags_that_no_table_can_have(data):
    ready(data)
    assert "the delimiter ';;' is not one character" in refused("--delimiter", ";;")
    for name in ("latin-99", "rot13", "base64"):
        assert f"there is no encoding '{name}'" in refused("--encoding", name)
    assert "--share 1 is no part" in refused("--share", "1") and "no part" in refused("--share", "nan")
    assert "there is no such folder" in refused("--images", "nowhere")
    assert "there is no encoder 'x'" in refused("--encoder", "x")


def test_official_files_of_other_questions_are_named(data):
    first = write_split(data, "train", [(n, n, f"q {n}?", ["a"]) for n in range(6)])
    questions = Path(first["questions"])
    asked = json.loads(questions.read_bytes())
    asked["questions"] = asked["questions"][:4]
    write_json(questions, asked)
    assert "answers 6 questions and" in (said := refused()) and "asks 4, but only 4 are in both" in said


def test_what_is_not_used_is_said(data):
    ready(data)
    write_json(data / "config.json", {"a": 1})
    assert "not used: config.json" in new()


def test_a_folder_may_be_called_anything(data, monkeypatch):
    for name in ("a\nmodels: {}", "{curly}", "${HOME}", "Où est-ce?", "..."):
        folder = data.parent / name
        (folder / "images").mkdir(parents=True)
        write_csv(folder / "d.csv", records(10))
        pictures(folder / "images", [f"{n}.png" for n in range(10)])
        result = CliRunner().invoke(new_dataset, [name])
        if name == "${HOME}":
            assert "rename the folder" in str(result.exception)
        elif name == "...":
            assert "has no name to call a dataset by" in str(result.exception)
        else:
            assert result.exception is None
    names = Catalog.load(Path("catalog.yaml").absolute()).datasets
    assert {"a_models", "curly", "où_est-ce"} <= set(names)
    assert all(path.is_file() for path in opened("curly").data.train.images)


# ---- the overlay


def ready(data: Path) -> None:
    write_csv(data / "d.csv", records(10))
    pictures(data, [f"{n}.png" for n in range(10)])


MINE = """# my models
models:
  m: {aliases: [], path: ./m}   # kept
datasets:
    # four blanks deep
    old:
        alias_prefixes: [old]
        sample_num: 5
        encoder: tiny_clip
        sampler_encoder: tiny_clip
        train: {joined: a.json, images: "{image_id}"}
        validation: {joined: b.json, images: "{image_id}"}
encoders: {}
"""


@pytest.mark.parametrize("before", [MINE, MINE.replace("datasets:\n", "datasets:  # all\n"), "models: {}", ""])
def test_what_is_there_stays_byte_by_byte(data, monkeypatch, before):
    ready(data)
    mine = data.parent / "mine.yaml"
    mine.write_text(before)
    mine.chmod(0o640)
    monkeypatch.setenv("ICD_CATALOG", str(mine))
    if before:
        assert "export" not in new()
    else:
        with pytest.raises(UserError, match="must hold sections"):
            new()  # an empty overlay is none
        return
    after = mine.read_text()
    at = next(n for n in range(len(after)) if after[n] != before[n : n + 1])
    assert after.startswith(before[:at]) and after.endswith(before[at:].lstrip("\n") or "\n")
    assert mine.stat().st_mode & 0o777 == 0o640
    content, old = yaml.safe_load(after), yaml.safe_load(before)
    assert "signs" in content.get("datasets") and {**content, "datasets": None} == {**old, "datasets": None}
    assert opened(overlay="mine.yaml").data.train


def test_nothing_of_the_users_is_overwritten(data):
    ready(data)
    new()
    first = Path("catalog.yaml").read_bytes()
    assert "has a dataset 'signs' already" in refused()
    assert "has a dataset 'okvqa' already" in refused("--name", "okvqa")
    assert "holds other than letters" in refused("--name", "a b|c")
    assert Path("catalog.yaml").read_bytes() == first
    new("--name", "second")
    assert {"signs", "second"} <= set(Catalog.load(Path("catalog.yaml")).datasets)
    Path("flow.yaml").write_text("datasets: {}\n")
    assert "name a new file: --catalog FILE" in refused("--catalog", "flow.yaml", "--name", "third")
    assert Path("flow.yaml").read_text() == "datasets: {}\n"


def test_an_overlay_that_is_named_and_not_there_is_made(data, monkeypatch):
    ready(data)
    monkeypatch.setenv("ICD_CATALOG", str(data.parent / "new" / "mine.yaml"))
    new()
    assert opened(overlay="new/mine.yaml").data.train


def test_a_dry_run_prints_what_it_would_write(data):
    ready(data)
    said = new("--dry-run")
    assert not Path("catalog.yaml").exists()
    entry = yaml.safe_load(said[said.index("datasets:\n") :])["datasets"]["signs"]
    assert entry["train"]["table"]["columns"]["answers"] == "answer" and entry["train"]["share"] == [0, 0.8]
