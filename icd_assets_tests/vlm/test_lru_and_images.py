import subprocess
import warnings
from pathlib import Path

import pytest
from PIL import Image

from icd_assets.errors import UserError
from icd_assets.vlm.images import read_image, read_images
from icd_assets.vlm.lru import ByteLru
from icd_assets_tests.programs import program


def test_the_least_recently_used_value_goes_first() -> None:
    lru: ByteLru[str, bytes] = ByteLru(10, len)
    for key in ("a", "b", "a", "c"):
        lru.get(key, lambda: b"1234")
    made: list[str] = []

    def make(key: str) -> bytes:
        made.append(key)
        return b"1234"

    for key in ("a", "c", "b"):
        lru.get(key, lambda key=key: make(key))
    assert made == ["b"]
    assert lru.size == 8


def test_a_value_over_the_limit_is_handed_through() -> None:
    lru: ByteLru[str, bytes] = ByteLru(3, len)
    assert lru.get("a", lambda: b"12345") == b"12345"
    assert len(lru) == 0
    assert lru.size == 0


def test_gray_and_turned_images_become_upright_rgb(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("L", (30, 10)).save(tmp_path / "turned.jpg", exif=exif)
    image = read_image(tmp_path / "turned.jpg")
    assert (image.mode, image.size) == ("RGB", (10, 30))


@pytest.mark.parametrize("content", [None, b"", b"not an image", "truncated"])
def test_a_bad_image_file_is_named(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "bad.jpg"
    if content == "truncated":
        Image.effect_noise((64, 64), 50).save(path)
        path.write_bytes(path.read_bytes()[:600])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.jpg"):
        read_image(path)


def test_images_read_ahead_come_in_order_and_a_bad_one_in_its_place(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(60)]
    for number, path in enumerate(paths):
        Image.new("RGB", (number + 1, 1)).save(path)
    assert [image.width for image in read_images(paths)] == list(range(1, 61))
    paths[50].unlink()
    images = read_images(paths)
    assert [next(images).width for _ in range(50)] == list(range(1, 51))
    with pytest.raises(UserError, match=r"50\.png does not exist"):
        next(images)


def test_odd_metadata_is_no_reason_to_refuse_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    image = Image.new("P", (8, 8))
    image.putpalette(list(range(256)) * 3)
    image.putdata([0, 1, 2, 3] * 16)
    image.save(path, transparency=b"\x00\x80\xff")
    with Image.open(path) as plain, pytest.raises(UserWarning, match="Transparency"), warnings.catch_warnings():
        warnings.simplefilter("error")
        plain.convert("RGB")
    assert [image.mode for image in read_images([path])] == ["RGB"]
    subprocess.run(program("read_image", str(path)), check=True)  # not only in tests
