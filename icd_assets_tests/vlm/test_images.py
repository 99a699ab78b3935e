"""Pictures of every mode look as a viewer shows them, or are refused by name; ordinary ones as Pillow has them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets.vlm.images import look, read_image, size_of, treatment

RED, GREY = (255, 0, 0), (128, 128, 128)


def left(path: Path) -> tuple[int, ...]:
    pixel = read_image(path).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def half_clear(mode: str) -> Image.Image:
    """Hidden red on the left, opaque blue on the right."""
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 255, 255))
    return image if mode == "RGBA" else image.convert(mode)


@pytest.mark.parametrize(("mode", "suffix"), [("RGBA", "png"), ("LA", "png"), ("RGBA", "webp"), ("RGBA", "tif")])
def test_what_is_transparent_lies_on_white(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"clear.{suffix}"
    half_clear(mode).save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert left(path) == (255, 255, 255)
    assert read_image(path).getpixel((1, 0)) != (255, 255, 255)
    assert treatment(path) == "on white"


def test_half_transparent_red_on_white_is_pink(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert left(tmp_path / "a.png") == pytest.approx((255, 127, 127), abs=1)


def test_transparent_entries_of_palettes_and_gifs_lie_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=b"\x00\xff")
    image.save(tmp_path / "a.gif", transparency=0)
    Image.new("RGB", (1, 1), (9, 9, 9)).save(tmp_path / "key.png", transparency=(9, 9, 9))
    for name in ("a.png", "a.gif", "key.png"):
        assert left(tmp_path / name) == (255, 255, 255)
    assert read_image(tmp_path / "a.png").getpixel((1, 0)) == RED


def test_an_opaque_alpha_channel_changes_nothing(tmp_path: Path) -> None:
    image = Image.effect_noise((8, 8), 50).convert("RGBA")
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tobytes() == image.convert("RGB").tobytes()
    assert treatment(tmp_path / "a.png") is None


@pytest.mark.parametrize("name", ["a.png", "a.tif", "big-endian.tif", "a.pgm"])
def test_of_16_bits_of_grey_the_high_ones_count(tmp_path: Path, name: str) -> None:
    path, values = tmp_path / name, np.array([[0, 255, 0x8000, 0xFFFF]], dtype=np.uint16)
    if name == "a.pgm":
        path.write_bytes(b"P5 4 1 65535\n" + values.astype(">u2").tobytes())
    elif name.startswith("big"):
        Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes()).save(path)
    else:
        Image.fromarray(values).save(path)
    assert np.asarray(read_image(path))[0, :, 0].tolist() == [0, 0, 0x80, 0xFF]
    assert look(path) == ((4, 1), None)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_32_bits_of_grey_are_refused_by_name(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "depth.tif"
    Image.fromarray(np.ones((4, 4), dtype=kind)).save(path)
    with pytest.raises(UserError, match=r"depth\.tif cannot be read \(32 bits of grey"):
        read_image(path)
    size, problem = look(path)
    assert size is None
    assert problem is not None
    assert "32 bits" in problem


def test_bilevel_palette_and_inks(tmp_path: Path) -> None:
    Image.new("1", (1, 1), 1).save(tmp_path / "bit.png")
    Image.new("CMYK", (1, 1), (0, 0, 0, 0)).save(tmp_path / "ink.jpg")
    Image.new("RGB", (1, 1), RED).quantize(2).save(tmp_path / "p.png")
    assert [left(tmp_path / name) for name in ("bit.png", "p.png")] == [(255, 255, 255), RED]
    assert left(tmp_path / "ink.jpg") == pytest.approx((255, 255, 255), abs=2)
    assert treatment(tmp_path / "ink.jpg") is None


def test_inks_with_a_broken_profile_are_read_as_without(tmp_path: Path) -> None:
    image = Image.new("CMYK", (1, 1), (255, 0, 0, 0))
    image.save(tmp_path / "plain.tif")
    image.save(tmp_path / "broken.tif", icc_profile=b"no profile")
    rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "foreign.tif", icc_profile=rgb)  # not of inks
    plain = left(tmp_path / "plain.tif")
    assert left(tmp_path / "broken.tif") == plain
    assert left(tmp_path / "foreign.tif") == plain


def test_of_an_animation_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 2), color) for color in (RED, GREY)]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        options = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert left(tmp_path / name) == RED


@pytest.mark.parametrize(
    ("turn", "size"), [(1, (30, 10)), (3, (30, 10)), (5, (10, 30)), (6, (10, 30)), (8, (10, 30))]
)
def test_sizes_are_upright(tmp_path: Path, turn: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    for suffix in ("jpg", "png", "webp", "tif"):
        path = tmp_path / f"turned.{suffix}"
        Image.new("RGB", (30, 10)).save(path, exif=exif)
        assert size_of(path) == look(path)[0] == read_image(path).size == size


def test_a_file_that_breaks_a_decoder_is_refused_not_fatal(tmp_path: Path) -> None:
    content = BytesIO()
    Image.effect_noise((40, 40), 90).save(content, "PNG")
    whole = bytearray(content.getvalue())
    for at in range(8, len(whole), 37):
        path = tmp_path / "hostile.png"
        path.write_bytes(whole[:at] + b"\xff\x00\xff" + whole[at + 3 :])
        size, problem = look(path)
        assert (size is None) == (problem is not None)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>404", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "it is a git-lfs pointer"),
        (b"\0" * 400, "cannot identify image file"),
    ],
)
def test_what_a_failed_download_left_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    size, problem = look(path)
    assert size is None and problem is not None and problem.startswith(f"unreadable: {what}")
    with pytest.raises(UserError, match=what):
        read_image(path)
    json_path = tmp_path / "a.json"
    json_path.write_bytes(content)
    with pytest.raises(UserError, match=f"is no JSON file .{what}" if what.startswith("it") else "zero bytes"):
        read_json(json_path)
