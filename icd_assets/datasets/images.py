"""Are the images there and whole? Asked once, before hours of work rest on it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from icd_assets.errors import UserError
from icd_assets.progress import OnProgress, ignore

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem


def require_images(items: Iterable[VqaItem], on_progress: OnProgress = ignore) -> None:
    """Decode every image of ``items`` once, at an eighth of its size.

    Raises :class:`UserError` with the number of bad images, the first one's path and its question.
    """
    images: dict[Path, int] = {}
    for item in items:
        images.setdefault(item.image, item.question_id)
    bad = 0
    first = ""
    for done, (path, question_id) in enumerate(images.items(), start=1):
        if (problem := _problem(path)) is not None:
            bad += 1
            first = first or f"{path} of question_id {question_id} ({problem})"
        on_progress(done, len(images))
    if bad:
        raise UserError(
            f"{bad} of {len(images)} images are missing or unreadable, the first is {first}; "
            "put the images where the catalog's images pattern points."
        )


def _problem(path: Path) -> str | None:
    """What is wrong with an image file, in words; None if it can be decoded."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to refuse a picture
            with Image.open(path) as image:
                width, height = image.size
                image.draft("RGB", (max(1, width // 8), max(1, height // 8)))  # a small JPEG decodes fast
                image.load()
    except FileNotFoundError:
        return "missing"
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        return f"unreadable: {str(error).replace(str(path), 'file')}"
    return None
