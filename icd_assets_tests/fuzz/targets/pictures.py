"""Pictures of every format that is opened, and of some that are not."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms

from icd_assets.errors import UserError
from icd_assets.vlm.images import look, read_image, size_of, treatment

SUFFIX = ".jpg"


def seeds() -> Iterable[bytes]:
    """All of at most 20 pixels a side."""
    image = Image.effect_noise((20, 12), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    clear = image.convert("RGBA")
    clear.putalpha(77)
    others = [image.rotate(180), image.rotate(90)]
    yield _saved(image, "JPEG", exif=exif)
    yield _saved(image, "JPEG", progressive=True, icc_profile=profile)
    yield _saved(image.convert("CMYK"), "JPEG", icc_profile=profile)
    yield _saved(image, "MPO", save_all=True, append_images=others)
    yield _saved(clear, "PNG", exif=exif, icc_profile=profile)
    yield _saved(image.quantize(9), "PNG", transparency=b"\x55" * 9)
    yield _saved(image, "PNG", save_all=True, append_images=others)
    yield _saved(Image.new("I;16", (4, 4), 40_000), "PNG")
    yield _saved(image, "WEBP", exif=exif)
    yield _saved(clear, "WEBP", lossless=True, save_all=True, append_images=others, icc_profile=profile)
    yield _saved(image.quantize(9), "GIF", transparency=1, comment=b"hi", save_all=True, append_images=others)
    yield _saved(image, "BMP")
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield _saved(image, "TIFF", compression=compression, exif=exif)
    yield _saved(image.convert("1"), "TIFF", compression="group4")
    yield _saved(clear, "TIFF", compression="tiff_lzw", tiled=True)
    yield _saved(image, "PPM")
    yield b"P3 # plain\n2 1 7\n0 1 2 3 4 5\n"
    yield b"P5 2 1 1000\n\0\1\3\xe8"


def _saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def read(path: Path) -> object:
    size, problem = look(path)
    assert (size is None) == (problem is not None)
    how = treatment(path)
    if problem is None:
        image = read_image(path)
        assert image.mode == "RGB" and image.size == size == size_of(path), (how, size)
        return image
    assert len(problem) < 400 and "\n" not in problem, problem
    raise UserError(problem)
