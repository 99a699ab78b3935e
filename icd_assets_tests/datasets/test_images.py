"""Missing and broken images are counted, and the first one is named with its question."""

from __future__ import annotations

import os
import sqlite3
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from icd_assets.datasets import images
from icd_assets.datasets.images import require_images
from icd_assets.datasets.vqa import VqaItem
from icd_assets.errors import UserError
from icd_assets_tests.worlds.vqa_files import item


@pytest.fixture
def items(tmp_path: Path) -> list[VqaItem]:
    found = []
    for row in range(4):
        path = tmp_path / f"{row}.jpg"
        Image.effect_noise((64, 48), 50).save(path)
        found.append(replace(item(row), image=path))
    return found


def test_whole_images_pass_and_each_file_is_looked_at_once(items):
    seen = []
    require_images([*items, *items], on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_missing_image_names_path_and_question(items):
    items[1].image.unlink()
    items[3].image.unlink()
    with pytest.raises(UserError, match=r"2 of 4 images .* the first is .*1\.jpg of question_id 10 \(missing\)"):
        require_images(items)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_foreign_file_is_unreadable(items, content):
    items[2].image.write_bytes(content)
    with pytest.raises(UserError, match=r"1 of 4 images .*2\.jpg of question_id 20 \(unreadable"):
        require_images(items)


def test_truncated_image_is_unreadable(items):
    whole = items[0].image.read_bytes()
    items[0].image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"question_id 0 \(unreadable: .*truncated"):
        require_images(items)


def test_decompression_bomb_is_refused(items, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"4 of 4 images .*unreadable"):
        require_images(items)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that were decoded."""
    from icd_assets.vlm import images as vlm_images

    found: list[str] = []
    real = vlm_images.look

    def counted(path: Path) -> tuple[tuple[int, int] | None, str | None]:
        found.append(path.name)
        return real(path)

    monkeypatch.setattr(vlm_images, "look", counted)
    return found


def test_a_sound_image_is_decoded_once_whatever_asks(items, decoded, tmp_path):
    kept = tmp_path / "results" / "private"
    require_images(items, kept)
    require_images(items[::-1], kept)
    assert sorted(decoded) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    Image.effect_noise((80, 48), 9).save(items[2].image)  # other bytes, another size
    os.utime(items[3].image, ns=(1, 1))
    del decoded[:]
    require_images(items, kept)
    assert sorted(decoded) == ["2.jpg", "3.jpg"]
    del decoded[:]
    require_images(items, kept)
    assert decoded == []


def test_a_known_image_that_broke_or_went_is_noticed(items, tmp_path):
    require_images(items, tmp_path)
    items[0].image.unlink()
    items[1].image.write_bytes(items[1].image.read_bytes()[:600])
    for _ in range(2):  # a bad image is not remembered as a good one
        with pytest.raises(UserError, match=r"2 of 4 images .*0\.jpg of question_id 0 \(missing\)"):
            require_images(items, tmp_path)


def test_all_bad_images_are_listed_once(items, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_CHUNK", 2)
    for at in (1, 3):
        items[at].image.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(UserError, match=r"2 of 4 .* all are listed in (.*)/bad_images-\w{8}\.txt; put"):
            require_images(items, tmp_path / "private")
    (path,) = (tmp_path / "private").glob("bad_images-*")
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert [line[:2] for line in lines] == [[str(items[at].image), str(items[at].question_id)] for at in (1, 3)]
    assert all("unreadable" in problem for _, _, problem in lines)


@pytest.mark.parametrize("how", ["garbage", "another table", "a folder"])
def test_a_memory_that_cannot_be_used_costs_time_only(items, decoded, tmp_path, how):
    path = tmp_path / "sound_images.sqlite"
    if how == "garbage":
        path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    elif how == "another table":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE sound_images (name TEXT)")
        connection.close()
    else:
        path.mkdir()
    require_images(items, tmp_path)
    require_images(items, tmp_path)
    require_images(items, tmp_path)
    assert len(decoded) == (12 if how == "a folder" else 8)  # a file is begun anew, and then remembers


def test_decoding_leaves_the_filters_of_warnings_alone_and_runs_in_threads(items, monkeypatch):
    from icd_assets.vlm import images as vlm_images

    names = set()
    real = vlm_images.look

    def noted(path: Path) -> str | None:
        names.add(threading.current_thread().name)
        return real(path)

    monkeypatch.setattr(vlm_images, "look", noted)
    before = list(warnings.filters)
    require_images(items)
    assert warnings.filters == before
    assert names and threading.main_thread().name not in names


def test_a_memory_without_sizes_keeps_what_it_knows(items, decoded, tmp_path):
    path, stat = tmp_path / "sound_images.sqlite", items[0].image.stat()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE sound_images (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER) WITHOUT ROWID"
        )
        row = os.fsencode(items[0].image), stat.st_size, stat.st_mtime_ns
        connection.execute("INSERT INTO sound_images VALUES (?, ?, ?)", row)
    connection.close()
    for _ in range(2):
        looked = images.look_at([item.image for item in items], tmp_path)
        assert looked.sizes == {item.image: (64, 48) for item in items}
    assert sorted(decoded) == ["1.jpg", "2.jpg", "3.jpg"]


def test_who_only_looks_remembers_nothing(items, decoded, tmp_path):
    for _ in range(2):
        images.look_at([item.image for item in items], tmp_path / "results", read_only=True)
    assert len(decoded) == 8
    assert not (tmp_path / "results").exists()
