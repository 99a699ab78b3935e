"""An image as a data URL whose pixels a server decodes to what we see.

A JPEG or PNG goes as it is, a tenth of the bytes of a lossless copy, if nothing in it is read differently by
different programs: 8-bit RGB or grey, no transparency (one server puts it on white, another drops it), no EXIF
rotation, no color profile, one frame. vLLM, SGLang and transformers all decode it with Pillow, as we do.
Anything else is decoded here and sent as PNG.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

from icd_assets.runtime.small_file import read_small
from icd_assets.vlm.images import read_image
from icd_assets.vlm.picture_file import open_picture
from icd_assets.vlm.prompts import Message

_MIME = {"JPEG": "image/jpeg", "PNG": "image/png"}
_LARGEST = 64 << 20  # bytes of a file that goes as it is; what has more is mostly no picture
_ORIENTATION = 0x0112


def data_url(path: Path) -> str:
    """Raises ``UserError`` naming the file if it cannot be decoded, so that no server has to."""
    image = read_image(path)
    if (mime := _mime_as_it_is(path)) is not None:
        return _url(mime, read_small(path, _LARGEST))
    image.info.clear()  # Pillow would write a profile or a transparent color into the copy
    copy = io.BytesIO()
    image.save(copy, "PNG", compress_level=1)
    del image
    return _url("image/png", copy.getvalue())


def _mime_as_it_is(path: Path) -> str | None:
    """None for a picture that goes as a copy."""
    with open_picture(path, header=True) as file:
        plain = (
            path.stat().st_size <= _LARGEST
            and file.format in _MIME
            and file.mode in ("RGB", "L")
            and "transparency" not in file.info
            and not file.info.get("icc_profile")
            and file.getexif().get(_ORIENTATION, 1) == 1
            and getattr(file, "n_frames", 1) == 1
        )
        return _MIME[str(file.format)] if plain else None


def with_urls(message: Message, url_of: Callable[[Path], str] = data_url) -> Message:
    """A message of :mod:`icd_assets.vlm.prompts` as servers take it: each picture as a URL."""
    if isinstance(message["content"], str):
        return message
    return message | {"content": [_part(part, url_of) for part in message["content"]]}


def _part(part: Message, url_of: Callable[[Path], str]) -> Message:
    if part["type"] != "image":
        return part
    return {"type": "image_url", "image_url": {"url": url_of(Path(part["image"]))}}


def _url(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
