"""What a server decodes must be, pixel by pixel, what we see; and no more bytes than that takes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from icd_assets.errors import UserError
from icd_assets.vlm.data_url import data_url
from icd_assets.vlm.images import read_image


def picture(mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((24, 16), 60).convert("RGB").convert(mode)


def _jpeg(path: Path) -> None:
    picture().save(path, "JPEG")


def _grey_jpeg(path: Path) -> None:
    picture("L").save(path, "JPEG")


def _png(path: Path) -> None:
    picture().save(path, "PNG")


def _upright_jpeg(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    picture().save(path, "JPEG", exif=exif)


def _turned_jpeg(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(path, "JPEG", exif=exif)


def _cmyk_jpeg(path: Path) -> None:
    picture("CMYK").save(path, "JPEG")


def _profiled_jpeg(path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture().save(path, "JPEG", icc_profile=profile)


def _transparent_png(path: Path) -> None:
    image = picture("RGBA")
    image.putalpha(77)
    image.save(path, "PNG")


def _keyed_png(path: Path) -> None:
    picture().save(path, "PNG", transparency=(255, 255, 255))


def _palette_png(path: Path) -> None:
    picture("P").save(path, "PNG")


def _deep_png(path: Path) -> None:
    Image.new("I;16", (24, 16), 40_000).save(path, "PNG")


def _moving_png(path: Path) -> None:
    picture().save(path, "PNG", save_all=True, append_images=[picture()])


def _gif(path: Path) -> None:
    picture("P").save(path, "GIF")


def decoded(url: str) -> tuple[str, bytes]:
    kind, content = url.removeprefix("data:").split(";base64,")
    return kind, base64.b64decode(content, validate=True)


@pytest.mark.parametrize("write", [_jpeg, _grey_jpeg, _png, _upright_jpeg])
def test_a_plain_file_goes_as_it_is(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "image"
    write(path)
    kind, content = decoded(data_url(path))
    assert content == path.read_bytes()
    assert kind == ("image/png" if content.startswith(b"\x89PNG") else "image/jpeg")


@pytest.mark.parametrize(
    "write",
    [
        _turned_jpeg,
        _cmyk_jpeg,
        _profiled_jpeg,
        _transparent_png,
        _keyed_png,
        _palette_png,
        _deep_png,
        _moving_png,
        _gif,
    ],
)
def test_what_programs_read_differently_goes_as_we_see_it(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "image"
    write(path)
    kind, content = decoded(data_url(path))
    assert (kind, content != path.read_bytes()) == ("image/png", True)
    with Image.open(io.BytesIO(content)) as sent:
        assert (sent.mode, sent.info) == ("RGB", {})
        assert sent.tobytes() == read_image(path).tobytes()


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.jpg"
    _jpeg(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"torn\.jpg cannot be read"):
        data_url(path)
