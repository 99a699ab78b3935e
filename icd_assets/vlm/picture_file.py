"""The one place where a picture is opened. Whatever stands in its place ends at once, in words, within bounds.

Memory: to Pillow a picture is four bytes a pixel, to its decoders up to twelve more (a progressive JPEG, the two
canvases of WebP), and what is made of it four again. So it may have ``PIXELS``, and all that are being decoded at
a time no more than that together. Measured at the limit: 420 to 610 MiB, whatever the format.

Time: what can be asked of a decoder without end, by a file of a few bytes, is counted: reads (a chunk, a comment,
a run of colors each), passes over a JPEG, pixels of the decoders that are written in Python.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from icd_assets.runtime.foreign import printable
from icd_assets.runtime.instead import instead
from icd_assets.runtime.plain_file import open_plain
from icd_assets.vlm.picture_formats import FORMATS, NAMES, START, closed_kind

PIXELS = 50_500_000  # the sensors of phones and cameras end at 50 megapixels (8192×6144)
BYTES = 256 << 20  # of a file

_HEAVY = 34_000_000  # pixels of WebP and CMYK, whose decoders take up to sixteen bytes a pixel; 8K has 33 million
_SLOW = {"ppm": 1_000_000, "ppm_plain": 3_000_000, "bmp_rle": 4_000_000}  # samples, a few seconds each
_SCANS = 100  # of a JPEG: programs write ten; each costs a pass over the picture
_NOTES = 256 << 10  # bytes of EXIF, of which JPEG holds 64 KiB
_WEBP_BYTES = 64 << 20  # of a file, which its decoder holds twice
_HEADER = (20_000, 32 << 20)  # reads, bytes
_DECODING = (250_000, 4 * BYTES)  # a PNG of 8 KiB pieces takes four reads for each
_RUNS = (1_000_000, BYTES)  # of a BMP, two reads each
_COMPRESSIONS = (
    *("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg", "tiff_jpeg"),
    *("group3", "group4", "tiff_ccitt", "tiff_raw_16"),
)
_TILE_SIDES, _ROWS = (322, 323), 278  # tags of TIFF
_WHY = 200  # characters of what a decoder says
_CONVERT = "convert it to PNG or JPEG"
_AGAIN = "save it again as PNG or JPEG"
_REPLACE = "replace it with a sound copy"


class NoPicture(Exception):
    """What is wrong, in words of bounded length; ``help``: what to do; ``pixels``: of one that has too many."""

    def __init__(self, why: str, help: str = _REPLACE, pixels: int = 0) -> None:
        super().__init__(why)
        self.help = help
        self.pixels = pixels

    @property
    def with_help(self) -> str:
        return str(self) if self.help.startswith(_REPLACE) else f"{self}: {self.help}"


@contextmanager
def open_picture(
    given: Path | bytes, formats: Sequence[str] = FORMATS, *, header: bool = False
) -> Generator[Image.Image, None, None]:
    """A picture whose header is read. Whatever decoding it raises inside comes out as ``NoPicture``.

    given: a file, or its content; header: nothing will be decoded. Raises ``FileNotFoundError`` if it is not
    there, and ``NoPicture`` if it is no picture of these formats, too large, or not to be read without waiting.
    """
    try:
        with _opened(given) as file:
            start = file.read(START)
            with _identified(file, start, formats) as picture:
                _require_bounded(picture)
                if header:
                    yield picture
                    return
                _require_few_scans(file, picture)
                file.allow(_RUNS if picture.format == "BMP" else _DECODING)
                with _ROOM.taken(picture.width * picture.height):
                    yield picture
    except (FileNotFoundError, NoPicture):
        raise
    except _Endless:
        raise NoPicture("it is of thousands of tiny pieces, or has endless notes", _AGAIN) from None
    except Exception as error:  # noqa: BLE001 - a decoder raises whatever it meets
        raise NoPicture(_words(error)) from None


class _Endless(Exception):
    """Nothing that Pillow's readers catch."""


class _Counting:
    """A file of which only so much is read."""

    _reads, _bytes = _HEADER

    def allow(self, bounds: tuple[int, int]) -> None:
        self._reads, self._bytes = bounds

    def read(self, size: int | None = -1, /) -> bytes:
        content: bytes = super().read(size)  # type: ignore[misc]
        self._reads -= 1
        self._bytes -= len(content)
        if self._reads < 0 or self._bytes < 0:
            raise _Endless
        return content


class _File(_Counting, io.BufferedReader):
    pass


class _Content(_Counting, io.BytesIO):
    pass


def _opened(given: Path | bytes) -> _File | _Content:
    if isinstance(given, bytes):
        return _Content(given)
    return _File(open_plain(given, BYTES).detach())


def _identified(file: _File | _Content, start: bytes, formats: Sequence[str]) -> Image.Image:
    if (
        start.startswith(b"RIFF") and start[8:12] == b"WEBP"
    ):  # its decoder takes the whole file and makes room for the picture at once
        _require_few(_webp_size(start), _HEAVY)
        if (size := file.seek(0, io.SEEK_END)) > _WEBP_BYTES:
            raise NoPicture(
                f"it is a WebP of {size / 2**20:,.1f} MiB, of which at most {_WEBP_BYTES >> 20} are read"
            )
        file.allow((_HEADER[0], 2 * _WEBP_BYTES))
    try:
        # An open file has no name: it is the content alone that decides.
        return Image.open(file, formats=tuple(formats))
    except UnidentifiedImageError:
        pass
    except Image.DecompressionBombError:  # Pillow's own bound is higher, and looked at earlier
        raise _too_many("hundreds of millions of", PIXELS, 1 << 62) from None
    if what := instead(start[:64]):
        raise NoPicture(what)
    if kind := closed_kind(start):
        raise NoPicture(f"it is {kind}, which is not opened", _CONVERT)
    names = ", ".join(NAMES.get(one, one) for one in formats)
    raise NoPicture(f"cannot identify image file: it is none of {names}, or damaged", f"{_REPLACE}, or {_CONVERT}")


def _require_bounded(picture: Image.Image) -> None:
    """What the header promises, before anything is decoded."""
    _require_few(picture.size, _HEAVY if picture.format == "WEBP" or picture.mode == "CMYK" else PIXELS)
    samples = picture.width * picture.height * len(picture.getbands())
    for tile in getattr(picture, "tile", ()):
        if samples > _SLOW.get(str(tile[0]), samples):
            raise NoPicture(f"it is {picture.format} of a kind that takes minutes to read", _CONVERT)
    if picture.format == "TIFF":
        _require_plain_tiff(picture)
    notes = picture.info.get("exif")
    if isinstance(notes, bytes) and len(notes) > _NOTES:
        raise NoPicture(f"its EXIF notes have {len(notes) >> 10:,} KiB", _AGAIN)


def _require_few(size: tuple[int, int], most: int = PIXELS) -> None:
    width, height = size
    if width * height > most:
        raise _too_many(f"{width}×{height}", most, width * height)


def _too_many(found: str, most: int, pixels: int) -> NoPicture:
    return NoPicture(
        f"it has {found} pixels, of which at most {most / 1e6:g} million are read", "make it smaller", pixels
    )


def _require_plain_tiff(picture: Image.Image) -> None:
    if (compression := picture.info.get("compression")) not in _COMPRESSIONS:
        raise NoPicture(f"it is a TIFF compressed by {compression}, which is not opened", _CONVERT)
    tags: Any = picture.tag_v2  # type: ignore[attr-defined]
    width, height = (side if isinstance(side := tags.get(tag, 1), int) else 1 for tag in _TILE_SIDES)
    _require_few((width, height))


def _require_few_scans(file: _File | _Content, picture: Image.Image) -> None:
    """Of a JPEG, or a TIFF of them. FF DA begins a scan, and occurs in no data of one."""
    most = _SCANS
    if picture.format == "TIFF" and picture.info.get("compression") in ("jpeg", "tiff_jpeg"):
        most += 4 * _pieces(picture)
    elif picture.format not in ("JPEG", "MPO"):
        return
    place, scans, last = file.tell(), 0, b""
    file.seek(0)
    file.allow(_DECODING)
    while block := file.read(1 << 16):
        scans += (last + block).count(b"\xff\xda")
        last = block[-1:] if block.endswith(b"\xff") else b""
    file.seek(place)
    if scans > most:
        raise NoPicture(f"it is a JPEG of {scans:,} scans, of which programs write ten", _CONVERT)


def _pieces(picture: Image.Image) -> int:
    """Strips or tiles of a TIFF."""
    tags: Any = picture.tag_v2  # type: ignore[attr-defined]
    sides = tags.get(_TILE_SIDES[0], picture.width), tags.get(_TILE_SIDES[1], tags.get(_ROWS, picture.height))
    across, down = (
        -(-whole // side) if isinstance(side, int) and side > 0 else 1
        for whole, side in zip(picture.size, sides, strict=True)
    )
    return across * down


def _webp_size(start: bytes) -> tuple[int, int]:
    """As its header has it; (0, 0) where it has none."""
    match start[12:16]:
        case b"VP8X":
            return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(start[21:25], "little")
            return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
        case b"VP8 ":
            sides = int.from_bytes(start[26:28], "little"), int.from_bytes(start[28:30], "little")
            return sides[0] & 0x3FFF, sides[1] & 0x3FFF
    return 0, 0


class _Room:
    """All pictures that are being decoded have so many pixels together."""

    def __init__(self, pixels: int) -> None:
        self._free = self._all = pixels
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Generator[None, None, None]:
        pixels = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_ROOM = _Room(PIXELS)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "decoding it takes more memory than there is"
    with suppress(Exception):  # a foreign exception may not even have words
        if words := printable(str(error)[: 2 * _WHY]).strip():
            return words if len(words) <= _WHY else f"{words[: _WHY - 1]}…"
    return f"its decoder failed with {type(error).__name__}"
