"""The text of a file that a user gave us: of sane size, in an encoding that is certain, or named."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.plain_file import open_plain

# Ten times the largest file that the pipeline knows (VQAv2's annotations: 0.4 GB). Text and parsed objects
# together take several times a file's size, so a larger one would end in the machine's memory, not in a sentence.
LIMIT = 4 << 30
SMALL = 8 << 20  # bytes that can do no harm, whatever they are
_PIECE = 1 << 20
_OBJECTS = 700 << 20  # bytes
_BREAKS = 3_000_000
_TIMES = 10  # a file's size

Look = Callable[[bytes], str | None]

# UTF-32's mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


# The same bytes that hold no text but another file.
_PACKED = {
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstandard archive",
    b"PAR1": "Parquet",
}


def read_content(path: Path, kind: str = "JSON", look: Look | None = None) -> bytes:
    """The bytes of a file that can be text: a regular one, of sane size, without holes.

    ``look`` sees a large file piece by piece before all of it is in the memory, and returns what is wrong with it.
    """
    try:
        with open_plain(path) as file:
            size = _size(path, file, kind)
            if look is not None and size > SMALL:
                while piece := file.read(_PIECE):
                    if (problem := look(piece)) is not None:
                        raise UserError(f"{path} {problem}; fetch or write the file again.")
                file.seek(0)
            return file.read(size)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{path} cannot be read ({why}); put the file there or fix the path.") from None


def require_content(path: Path, kind: str = "a split") -> None:
    """Raises as :func:`read_content` does for a file of no sane size, before all of it is read for a digest; other
    files are left to who reads them."""
    with suppress(OSError), open_plain(path) as file:
        _size(path, file, kind)


def _size(path: Path, file: BufferedReader, kind: str) -> int:
    """In bytes, of a file without holes that is not too large."""
    size = os.fstat(file.fileno()).st_size
    if size > LIMIT:
        raise UserError(
            f"{path} declares {size >> 20} MiB, but {kind} is read up to {LIMIT >> 20} MiB; fetch the right file."
        )
    # A hole reads as zero bytes, which text cannot hold; asked of the file system, nothing is read.
    if size and os.lseek(file.fileno(), 0, os.SEEK_HOLE) < size:
        raise UserError(
            f"{path} declares {size} bytes but holds fewer (a sparse file); fetch or write the file again."
        )
    file.seek(0)
    return size


class Dense:
    """Refuses JSON that is next to nothing but brackets and commas: as objects it would take a hundred times its
    size. VQAv2's annotations, whole, take four times theirs."""

    def __init__(self) -> None:
        self._bytes = self._needed = 0

    def __call__(self, piece: bytes) -> str | None:
        self._bytes += len(piece)
        # Bytes of an object, a list, and of a value with its place in one; and of the text itself, twice.
        self._needed += 160 * piece.count(b"{") + 72 * piece.count(b"[") + 48 * piece.count(b",") + 2 * len(piece)
        if self._needed > _OBJECTS and self._needed > _TIMES * self._bytes:
            return f"is next to nothing but brackets and commas, over {_OBJECTS >> 20} MiB in the memory"
        return None


class LongLine:
    """Refuses a file in which a line is longer than any record, and one of little but empty lines: each takes the
    time of a record."""

    def __init__(self) -> None:
        self._line, self._length = 1, 0
        self._bytes = self._breaks = 0

    def __call__(self, piece: bytes) -> str | None:
        self._bytes += len(piece)
        self._breaks += max(piece.count(b"\n"), piece.count(b"\r"))
        if self._breaks > _BREAKS and 3 * self._breaks > self._bytes:
            return f"is next to nothing but line breaks, over {_BREAKS:,} of them"
        lines = piece.split(b"\n")
        lengths = [self._length + len(lines[0]), *map(len, lines[1:])]
        if max(lengths) > SMALL:
            at = self._line + next(at for at, length in enumerate(lengths) if length > SMALL)
            return f"has more than {SMALL >> 20} MiB in line {at}"
        self._line, self._length = self._line + len(lines) - 1, lengths[-1]
        return None


def encoding_of(path: Path, content: bytes, named: str | None = None) -> str:
    """``named``, or what the file's first bytes say, or UTF-8: whatever else it may be would be a guess."""
    if packed := next((what for start, what in _PACKED.items() if content.startswith(start)), None):
        raise UserError(f"{path} is {packed}, not text; unpack it, or name it as what it is.")
    encoding = named or next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:4096]:
        raise UserError(f"{path} holds zero bytes, as UTF-16 without its mark does; write it as UTF-8 again.")
    return encoding


def not_text(path: Path, content: bytes, encoding: str) -> UserError:
    """That the content is not text in ``encoding``, and where."""
    return UserError(
        f"{path} is not {encoding.removesuffix('-sig').upper()} text ({_bad_place(content, encoding)}); write it "
        "as UTF-8, or name its encoding (of a table, in the catalog: encoding: latin-1)."
    )


def _bad_place(content: bytes, encoding: str) -> str:
    byte = 0
    if encoding in ("utf-8", "utf-8-sig"):
        for number, line in enumerate(content.split(b"\n"), start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"line {number}, byte {byte + error.start}"
            byte += len(line) + 1
    return "cut short, or another encoding"
