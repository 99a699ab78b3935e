"""Reading a JSON file that a user gave us: what is wrong with it is said once, with file and place."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError

# Ten times the largest file that the pipeline knows (VQAv2's annotations: 0.4 GB). Text and parsed objects
# together take several times a file's size, so a larger one would end in the machine's memory, not in a sentence.
LIMIT = 4 << 30


class _Refused(ValueError):
    """JSON that parses but that we do not accept."""


def read_json(
    path: Path,
    *,
    on_bytes: Callable[[bytes], object] | None = None,
    compact: Callable[[dict[str, Any]], Any] | None = None,
    unique_keys: bool = False,
    not_finite: bool = False,
) -> Any:
    """The value in ``path``.

    ``on_bytes`` sees the raw bytes (for a digest); ``compact`` replaces each object as soon as it is read,
    which keeps large files small in memory; ``unique_keys`` refuses a key that occurs twice in one object.
    Raises :class:`UserError` for an absent, truncated, mis-encoded or hostile file, and for NaN or Infinity unless
    they may be there (``not_finite``).
    """
    content = _content(path)
    if on_bytes is not None:
        on_bytes(content)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); give the JSON file itself.") from None
    del content
    try:
        return json.loads(
            text,
            object_hook=compact,
            object_pairs_hook=_unique if unique_keys else None,
            parse_constant=float if not_finite else _no_constant,
        )
    except json.JSONDecodeError as error:
        byte = len(text[: error.pos].encode())
        raise UserError(
            f"{path} is not complete JSON: {error.msg.lower()} at byte {byte}; fetch or write the file again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not acceptable JSON ({error}); fetch or write the file again.") from None


def _content(path: Path) -> bytes:
    """The bytes of a file that can be JSON: a regular one, of sane size, without holes."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise UserError(f"{path} is a device or a pipe; give the path of a JSON file.")
        if status.st_size > LIMIT:
            raise UserError(
                f"{path} declares {status.st_size >> 20} MiB, but JSON is read up to {LIMIT >> 20} MiB; "
                "fetch the right file."
            )
        with path.open("rb") as file:
            # A hole reads as zero bytes, which JSON cannot hold; asked of the file system, nothing is read.
            if status.st_size and os.lseek(file.fileno(), 0, os.SEEK_HOLE) < status.st_size:
                raise UserError(
                    f"{path} declares {status.st_size} bytes but holds fewer (a sparse file); "
                    "fetch or write the file again."
                )
            file.seek(0)
            return file.read(status.st_size)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); put the file there or fix the path.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"the key {twice!r} occurs twice in one object")
    return record


def _no_constant(name: str) -> Any:
    raise _Refused(f"{name} is not a number")
