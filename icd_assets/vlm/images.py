"""Reading an image file: upright, RGB, or one clear error."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, ImageOps

from icd_assets.errors import UserError


def read_image(path: Path) -> Image.Image:
    """The image in RGB, turned as its EXIF orientation says (as `datasets` does for upstream).

    Raises ``UserError`` naming the file if it is missing, truncated, no image or too large to be one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to refuse a picture
            with Image.open(path) as file:
                return ImageOps.exif_transpose(file).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"image {path} does not exist; restore it or mend the images path.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"image {path} cannot be read ({error}); replace it with a sound copy.") from None
