"""Reading an image file: upright, RGB, or one clear error."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable
from pathlib import Path

from PIL import Image, ImageOps

from icd_assets.errors import UserError
from icd_assets.runtime.prefetch import prefetch

# Odd metadata is no reason to refuse a picture. Said once for the process: a filter that is set and taken back
# around each file, as catch_warnings does, is not safe in threads.
warnings.filterwarnings("ignore", module="PIL")

_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_image(path: Path) -> Image.Image:
    """The image in RGB, turned as its EXIF orientation says (as `datasets` does for upstream).

    Raises ``UserError`` naming the file if it is missing, truncated, no image or too large to be one.
    """
    try:
        with Image.open(path) as file:
            return ImageOps.exif_transpose(file).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"image {path} does not exist; restore it or fix the images path.") from None
    except _ERRORS as error:
        raise UserError(f"image {path} cannot be read ({error}); replace it with a sound copy.") from None


def read_images(paths: Iterable[Path]) -> Generator[Image.Image, None, None]:
    """:func:`read_image` of each path, in order, the next ones in threads meanwhile."""
    return prefetch(read_image, paths)


def problem(path: Path) -> str | None:
    """What is wrong with an image file, in words; None if it can be decoded (tried at an eighth of its size)."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            image.draft("RGB", (max(1, width // 8), max(1, height // 8)))  # a small JPEG decodes fast
            image.load()
    except FileNotFoundError:
        return "missing"
    except _ERRORS as error:
        return f"unreadable: {str(error).replace(str(path), 'file')}"
    return None
