"""The text of a file that a user gave us: of sane size, in an encoding that is certain, or named."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path

from icd_assets.errors import UserError

# Ten times the largest file that the pipeline knows (VQAv2's annotations: 0.4 GB). Text and parsed objects
# together take several times a file's size, so a larger one would end in the machine's memory, not in a sentence.
LIMIT = 4 << 30

# UTF-32's mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_content(path: Path, kind: str = "JSON") -> bytes:
    """The bytes of a file that can be text: a regular one, of sane size, without holes."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise UserError(f"{path} is a device or a pipe; give the path of a {kind} file.")
        if status.st_size > LIMIT:
            raise UserError(
                f"{path} declares {status.st_size >> 20} MiB, but {kind} is read up to {LIMIT >> 20} MiB; "
                "fetch the right file."
            )
        with path.open("rb") as file:
            # A hole reads as zero bytes, which text cannot hold; asked of the file system, nothing is read.
            if status.st_size and os.lseek(file.fileno(), 0, os.SEEK_HOLE) < status.st_size:
                raise UserError(
                    f"{path} declares {status.st_size} bytes but holds fewer (a sparse file); "
                    "fetch or write the file again."
                )
            file.seek(0)
            return file.read(status.st_size)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); put the file there or fix the path.") from None


def encoding_of(path: Path, content: bytes, named: str | None = None) -> str:
    """``named``, or what the file's first bytes say, or UTF-8: whatever else it may be would be a guess."""
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
