"""One reader for every small file: manifests, caches, notes, settings. Anyone may have put anything in its place.

What is no regular file (a pipe waits for ever, a device has no end) or larger than such a file ever is raises an
``OSError`` that says so in ``strerror``, as one that is not there or not to be read does; what is no text or no
JSON of ordinary depth and finite numbers raises a ``ValueError``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from icd_assets.runtime.plain_file import open_plain, too_large

SMALL = 32 << 20  # bytes; as parsed JSON they take up to twenty times that


def read_small(path: Path, most: int = SMALL) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes."""
    with open_plain(path, most) as file:
        content = file.read(most + 1)  # it may be growing
    if len(content) > most:
        raise too_large(path, len(content), most)
    return content


def read_small_text(path: Path, most: int = SMALL) -> str:
    """The same as UTF-8 text, with or without its mark, newlines as they are."""
    return read_small(path, most).decode("utf-8-sig")


def read_small_json(path: Path, most: int = SMALL) -> Any:
    """The same as JSON, of finite numbers."""
    return parse_json(read_small_text(path, most))


def parse_json(text: str) -> Any:
    """JSON of ordinary depth and finite numbers; a ``ValueError`` for any other."""
    try:
        return json.loads(text, parse_float=finite_number, parse_constant=finite_number)
    except RecursionError:
        raise ValueError("lists within lists, deeper than any file of ours") from None


def finite_number(text: str) -> float:
    """A ``ValueError`` for one that is NaN, or beyond every float."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value
