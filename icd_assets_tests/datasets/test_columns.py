"""A parsed split is kept by content; a kept file can be lost or damaged, and never lies."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest

from icd_assets.datasets import columns, vqa
from icd_assets.datasets.vqa import VqaSplit, load_split, read_split
from icd_assets.store.digests import DigestCache, sha256_file
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.vqa_files import IMAGES, annotation, write_files

QUESTIONS = [(10 * n, n // 3, f"question {n}, où?") for n in range(1, 30)]
ANNOTATIONS = [
    annotation(10 * n, n // 3, [f"a{n}", "b"] + ["c"] * (n % 4), multiple_choice_answer="b") for n in range(1, 30)
]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_ROWS", 8)  # several batches, the last one short


def load(folder: Path, answer="official") -> VqaSplit:
    return load_split(
        "vqav2",
        "train",
        folder / "questions.json",
        folder / "annotations.json",
        IMAGES,
        answer,
        digests=DigestCache(folder / "digests.json"),
        folder=folder / "kept",
    )


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The annotation files that were parsed, one entry a time."""
    parsed: list[Path] = []
    real = vqa.read_records

    def counted(questions, annotations, *rest):
        parsed.append(annotations)
        return real(questions, annotations, *rest)

    monkeypatch.setattr(vqa, "read_records", counted)
    return parsed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, QUESTIONS, ANNOTATIONS)
    return tmp_path


def kept(folder: Path) -> Path:
    (path,) = (folder / "kept").iterdir()
    return path


def test_the_second_load_parses_nothing_and_gives_the_same(folder, parses):
    plain = read_split("vqav2", "train", folder / "questions.json", folder / "annotations.json", IMAGES)
    first, second = load(folder), load(folder)
    assert len(parses) == 2  # the plain one, and the first
    for found in (first, second):
        assert list(found) == list(plain) == [found[row] for row in range(len(found))]
        assert found.digest == plain.digest
        assert found.questions == [item.question for item in plain]
        assert found.images == [item.image for item in plain]
        assert found.image_ids.tolist() == [item.image_id for item in plain]
        assert found.question_ids.tolist() == [item.question_id for item in plain]


def test_other_content_or_another_answer_is_another_file(folder, parses):
    load(folder), load(folder, "most_frequent")
    assert len(parses) == len(list((folder / "kept").iterdir())) == 2
    write_files(folder, QUESTIONS[:-1], ANNOTATIONS[:-1])
    assert len(load(folder)) == len(QUESTIONS) - 1


def damaged(whole: bytes) -> dict[str, bytes]:
    middle = len(whole) // 2
    text = whole.index(b"question 7")
    return {
        "empty": b"",
        "truncated": whole[:middle],
        "one bit": whole[:text] + bytes([whole[text] ^ 1]) + whole[text + 1 :],
        "foreign": b"PK\x03\x04" + b"\0" * 500,
        "zeroed": whole[:200] + b"\0" * (len(whole) - 400) + whole[-200:],
    }


@pytest.mark.parametrize("how", ["empty", "truncated", "one bit", "foreign", "zeroed"])
def test_a_damaged_file_is_made_again(folder, parses, how):
    wanted = list(load(folder))
    whole = kept(folder).read_bytes()
    kept(folder).write_bytes(damaged(whole)[how])
    assert list(load(folder)) == wanted
    assert len(parses) == 2 and kept(folder).read_bytes() == whole


def test_every_flipped_byte_is_noticed(folder):
    load(folder)
    path = kept(folder)
    whole = path.read_bytes()
    key = vqa._key(["official"], [sha256_file(folder / name) for name in ("questions.json", "annotations.json")])
    facts = columns.read_table(path, key)
    assert facts is not None
    wanted = facts[0].to_pylist()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        found = columns.read_table(path, key)
        assert found is None or (found[0].to_pylist(), found[1]) == (wanted, facts[1])  # padding may differ


def test_a_file_under_anothers_name_is_not_believed(folder, parses):
    load(folder)
    ours = kept(folder)
    whole = ours.read_bytes()
    ours.unlink()
    load(folder, "most_frequent")
    kept(folder).write_bytes(whole)
    assert [item.answer for item in load(folder, "most_frequent")][1] == "c"
    assert len(parses) == 3


def test_a_folder_that_cannot_be_written_costs_time_only(folder, parses, caplog):
    (folder / "kept").write_text("a file where the folder should be")
    assert len(load(folder)) == len(load(folder)) == len(QUESTIONS)
    assert len(parses) == 2 and "parses the split again" in caplog.text


def test_a_disk_that_is_full_half_way_costs_time_only_and_no_space(folder, caplog):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))  # no file may grow larger, as on a full disk
    try:
        assert len(load(folder)) == len(QUESTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "parses the split again" in caplog.text
    assert list((folder / "kept").iterdir()) == []


def test_two_processes_may_build_it_at_once(folder):
    command = program("load_split", str(folder))
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == [str(len(QUESTIONS))] * 3
    assert [path.suffix for path in (folder / "kept").iterdir()] == [".arrow"]


def test_half_a_character_is_named(tmp_path):
    files = write_files(tmp_path, [(10, 1, "Who\ud800?")], [annotation(10, 1, ["x"])])
    from icd_assets.errors import UserError

    with pytest.raises(UserError, match="holds half a character"):
        read_split("vqav2", "train", *files, IMAGES)
