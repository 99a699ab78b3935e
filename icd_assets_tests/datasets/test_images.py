"""Missing and broken images are counted, and the first one is named with its question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from icd_assets.datasets.images import require_images
from icd_assets.datasets.vqa import VqaItem
from icd_assets.errors import UserError
from icd_assets_tests.datasets.vqa_files import item


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
