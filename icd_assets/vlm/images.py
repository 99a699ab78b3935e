"""Reading an image file: upright, RGB, as a viewer shows it, or one clear error.

What a viewer does and Pillow's ``convert("RGB")`` does not:
1. Transparent parts lie on white (Pillow: whatever color they hide, mostly black).
2. Of 16 bits of grey the high eight count (Pillow clips: all above 255 is white).
3. Inks (CMYK) with a color profile are mixed as the profile says.

Refused by name: 32 bits of grey (TIFF's ``I`` and ``F``), which no file says the white of. Of an animation the
first frame is taken.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from icd_assets.errors import UserError
from icd_assets.runtime.instead import instead
from icd_assets.runtime.prefetch import prefetch

# Odd metadata is no reason to refuse a picture. Said once for the process: a filter that is set and taken back
# around each file, as catch_warnings does, is not safe in threads.
warnings.filterwarnings("ignore", module="PIL")

Size = tuple[int, int]  # width, height in pixels, upright
Treatment = Literal["on white", "high byte", "profile"]

_ORIENTATION = 0x0112
_ON_THEIR_SIDE = (5, 6, 7, 8)
# What Pillow's decoders raise for the files of the world.
_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, RuntimeError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)


def read_image(path: Path) -> Image.Image:
    """The image in RGB, turned as its EXIF orientation says (as `datasets` does for upstream).

    Raises ``UserError`` naming the file if it is missing, truncated, no image, too large to be one, or has no
    brightness that a viewer would agree on.
    """
    try:
        with Image.open(path) as file:
            return _shown(file)
    except FileNotFoundError:
        raise UserError(f"image {path} does not exist; restore it or fix the images path.") from None
    except _ERRORS as error:
        raise UserError(
            f"image {path} cannot be read ({_why(path, error)}); replace it with a sound copy."
        ) from None


def read_images(paths: Iterable[Path]) -> Generator[Image.Image, None, None]:
    """:func:`read_image` of each path, in order, the next ones in threads meanwhile."""
    return prefetch(read_image, paths)


def look(path: Path) -> tuple[Size | None, str | None]:
    """(size, None) of an image file that :func:`read_image` can read, else (None, what is wrong in words).

    A JPEG is decoded at an eighth of its size.
    """
    try:
        with Image.open(path) as image:
            size = _upright(image)
            image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))  # a small JPEG decodes fast
            _shown(image)
    except FileNotFoundError:
        return None, "missing"
    except _ERRORS as error:
        return None, f"unreadable: {_why(path, error)}"
    return size, None


def _why(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        with suppress(OSError), path.open("rb") as file:
            if what := instead(file.read(64)):
                return what
    return str(error).replace(str(path), "file")


def size_of(path: Path) -> Size | None:
    """The size of an image file from its header; None if it has none."""
    try:
        with Image.open(path) as image:
            return _upright(image)
    except _ERRORS:
        return None


def treatment(path: Path) -> Treatment | None:
    """What of a viewer's ways a file needs; None for ordinary ones, and for what cannot be read.

    It is part of what identifies an answer: with it a picture looks otherwise than Pillow alone shows it.
    """
    try:
        with Image.open(path) as image:
            return _treatment(image)
    except _ERRORS:
        return None


def _upright(image: Image.Image) -> Size:
    if image.format == "TIFF":  # Pillow has turned it already
        return image.size
    on_its_side = image.getexif().get(_ORIENTATION) in _ON_THEIR_SIDE
    return (image.height, image.width) if on_its_side else image.size


def _shown(file: Image.Image) -> Image.Image:
    how, profile = _treatment(file), file.info.get("icc_profile")
    image = ImageOps.exif_transpose(file)
    match how:
        case "on white":
            colors = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colors).convert("RGB")
        case "high byte":
            return _high_byte(image).convert("RGB")
        case "profile":
            return _mixed(image, profile)
        case None:
            if image.mode in ("I", "F"):
                raise ValueError("32 bits of grey, of which nothing says what is white: save it with 8 or 16")
            return image.convert("RGB")


def _treatment(image: Image.Image) -> Treatment | None:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return "high byte"
    if image.mode == "CMYK":
        return "profile" if image.info.get("icc_profile") else None
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        return "on white"
    return None


def _high_byte(image: Image.Image) -> Image.Image:
    import numpy as np

    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _mixed(image: Image.Image, profile: Any) -> Image.Image:
    """CMYK under its profile; under one that is broken as without any."""
    try:
        inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mixed = ImageCms.profileToProfile(image, inks, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB")
    return mixed if mixed is not None else image.convert("RGB")
