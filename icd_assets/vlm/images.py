"""Reading an image file: upright, RGB, as a viewer shows it, or one clear error.

What a viewer does and Pillow's ``convert("RGB")`` does not:
1. Transparent parts lie on white (Pillow: whatever color they hide, mostly black).
2. Of 16 bits of grey the high eight count (Pillow clips: all above 255 is white).
3. Inks (CMYK) with a color profile are mixed as the profile says.

Refused by name: 32 bits of grey (TIFF's ``I`` and ``F``), which no file says the white of. Of an animation the
first frame is taken.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageCms, ImageOps

from icd_assets.errors import UserError
from icd_assets.runtime.plain_file import open_plain
from icd_assets.runtime.prefetch import prefetch
from icd_assets.store.digests import sha256_json
from icd_assets.vlm.lru import ByteLru
from icd_assets.vlm.picture_file import BYTES, PIXELS, NoPicture, open_picture

# Odd metadata is no reason to refuse a picture. Said once for the process: a filter that is set and taken back
# around each file, as catch_warnings does, is not safe in threads.
warnings.filterwarnings("ignore", module="PIL")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it writes a line of its own beside our sentence

Size = tuple[int, int]  # width, height in pixels, upright
Treatment = Literal["on white", "high byte", "profile"]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels

# Of pictures by path, size and time: prompts name each hundreds of times, and features once more.
_digests: ByteLru[tuple[str, int, int], str] = ByteLru(200_000, lambda _: 1)

_ORIENTATION = 0x0112
_ON_THEIR_SIDE = (5, 6, 7, 8)
_AHEAD = 16_000_000  # pixels of a picture that may wait for its reader, beside up to two more for each core
_STRIP = (
    1 << 21
)  # pixels whose transparency is worked on at a time: copies of all would take four times the memory


def read_image(path: Path) -> Image.Image:
    """The image in RGB, turned as its EXIF orientation says (as `datasets` does for upstream).

    Raises ``UserError`` naming the file if it is missing, truncated, no image, too large to be one, of a kind that
    is not opened, or has no brightness that a viewer would agree on.
    """
    image = _read(path, PIXELS)
    assert image is not None
    return image


def read_ahead(path: Path) -> Image.Image | None:
    """:func:`read_image` for a picture that may wait for its reader; None for one that is too large to."""
    return _read(path, _AHEAD)


def read_images(paths: Iterable[Path]) -> Generator[Image.Image, None, None]:
    """:func:`read_image` of each path, in order, the next ones in threads meanwhile unless they are large."""
    for path, image in prefetch(lambda path: (path, read_ahead(path)), paths):
        yield read_image(path) if image is None else image


def _read(path: Path, most: int) -> Image.Image | None:
    """None for one of more than ``most`` pixels."""
    try:
        with open_picture(path) as file:
            return _shown(file) if file.width * file.height <= most else None
    except FileNotFoundError:
        raise UserError(f"image {path} does not exist; restore it or fix the images path.") from None
    except NoPicture as error:
        raise UserError(f"image {path} cannot be read ({error}); {error.help}.") from None


def look(path: Path) -> tuple[Size | None, str | None]:
    """(size, None) of an image file that :func:`read_image` can read, else (None, what is wrong in words).

    A JPEG is decoded at an eighth of its size.
    """
    try:
        with open_picture(path) as image:
            size = _upright(image)
            image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))  # a small JPEG decodes fast
            _shown(image)
    except FileNotFoundError:
        return None, "missing"
    except NoPicture as error:
        return None, f"unreadable: {error.with_help}"
    return size, None


def size_of(path: Path) -> Size | None:
    """The size of an image file from its header; None if it has none."""
    try:
        with open_picture(path, header=True) as image:
            return _upright(image)
    except (FileNotFoundError, NoPicture):
        return None


def treatment(path: Path) -> Treatment | None:
    """What of a viewer's ways a file needs; None for ordinary ones, and for what cannot be read.

    It is part of what identifies an answer: with it a picture looks otherwise than Pillow alone shows it.
    """
    try:
        with open_picture(path, header=True) as image:
            if not image.has_transparency_data:
                return _treatment(image)
        with open_picture(path) as image:
            return _treatment(image)
    except (FileNotFoundError, NoPicture):
        return None


def pixels_digest(path: Path) -> str:
    """Of the file's bytes, and of what else decides which pixels a model sees; known by its size and time."""
    stat = path.stat()
    known = str(path), stat.st_size, stat.st_mtime_ns
    if (digest := _digests.find(known)) is None:
        digest = _pixels_digest(path)
        _digests.keep(known, digest)
    return digest


def _pixels_digest(path: Path) -> str:
    how = treatment(path)
    with open_plain(path, BYTES) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest if how is None else sha256_json([digest, how])


def _upright(image: Image.Image) -> Size:
    if image.format == "TIFF":  # Pillow has turned it already
        return image.size
    on_its_side = image.getexif().get(_ORIENTATION) in _ON_THEIR_SIDE
    return (image.height, image.width) if on_its_side else image.size


def _shown(image: Image.Image) -> Image.Image:
    how, profile = _treatment(image), image.info.get("icc_profile")
    ImageOps.exif_transpose(image, in_place=True)
    match how:
        case "on white":
            return _on_white(image)
        case "high byte":
            return _high_byte(image)
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
    if image.has_transparency_data and any(_clear(part) for _, part in _strips(image)):
        return "on white"
    return None


def _strips(image: Image.Image) -> Iterator[tuple[Box, Image.Image]]:
    rows = max(1, _STRIP // max(1, image.width))
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(image.height, top + rows))
        yield box, image.crop(box)


def _clear(image: Image.Image) -> bool:
    return image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def _on_white(image: Image.Image) -> Image.Image:
    shown = Image.new("RGB", image.size)
    for box, part in _strips(image):
        white = Image.new("RGBA", part.size, "white")
        shown.paste(Image.alpha_composite(white, part.convert("RGBA")).convert("RGB"), box)
    return shown


def _high_byte(image: Image.Image) -> Image.Image:
    import numpy as np

    shown = Image.new("RGB", image.size)
    for box, part in _strips(image):
        shown.paste(Image.fromarray((np.asarray(part) >> 8).astype(np.uint8)).convert("RGB"), box)
    return shown


def _mixed(image: Image.Image, profile: Any) -> Image.Image:
    """CMYK under its profile; under one that is broken as without any."""
    try:
        inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mixed = ImageCms.profileToProfile(image, inks, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB")
    return mixed if mixed is not None else image.convert("RGB")
