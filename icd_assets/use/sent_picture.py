"""Pictures from a request's body: PNG, JPEG or WebP, never a path or an address, and no more than memory holds."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.vlm.picture_file import NoPicture, open_picture

PIXELS = 100_000_000  # of all pictures of a request together; decoded they take three bytes each

_FORMATS = ("PNG", "JPEG", "WEBP")
_DATA_URL = re.compile(r"data:image/(png|jpeg|webp);base64,")


class Pictures:
    """Pictures of one request as files in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pixels = 0

    def keep(self, name: str, sent: str) -> Path:
        """The file of a picture that was sent as a data URL or as base64.

        Raises ``UserError`` that begins with ``name``; whether it can be decoded shows when it is read.
        """
        start = _DATA_URL.match(sent)
        try:
            content = base64.b64decode(sent[start.end() if start else 0 :], validate=True)
        except (binascii.Error, ValueError):
            raise UserError(
                f"{name} is neither base64 nor a data URL of a PNG, JPEG or WebP picture; send the picture itself."
            ) from None
        self._pixels += _pixels(name, content)
        if self._pixels > PIXELS:
            raise UserError(
                f"{name}: the pictures have more than {PIXELS // 10**6} megapixels together; send smaller ones."
            )
        path = self.path(name)
        path.write_bytes(content)
        return path

    def path(self, name: str) -> Path:
        """Where the picture of that name lies, if it was sent."""
        return self._folder / name

    def lacks(self, path: Path) -> bool:
        """Whether it would be one of these, and was not sent."""
        return path.parent == self._folder and not path.exists()

    def sentence(self, error: UserError) -> str:
        """An error about one of the files, by its name."""
        return str(error).replace(f"{self._folder}/", "")


def _pixels(name: str, content: bytes) -> int:
    try:
        with open_picture(content, _FORMATS, header=True) as picture:
            return picture.width * picture.height
    except NoPicture as error:
        if error.pixels > PIXELS:
            return error.pixels
        raise UserError(f"{name} is no PNG, JPEG or WebP picture that is read ({error}); send another.") from None
