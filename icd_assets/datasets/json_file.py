"""Reading a JSON file that a user gave us: what is wrong with it is said once, with file and place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from icd_assets.datasets.text_file import Dense, encoding_of, not_text, read_content
from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.instead import instead
from icd_assets.runtime.small_file import finite_number

_DEEPEST = 64  # lists within lists; what is kept as it is has to be shown and written later
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # half a character, or one of two halves


_TOO_DEEP = "lists within lists, deeper than any file of ours"


class _Refused(ValueError):
    """JSON that parses but that we do not accept."""


def read_json(
    path: Path,
    *,
    on_bytes: Callable[[bytes], object] | None = None,
    compact: Callable[[dict[str, Any]], Any] | None = None,
    unique_keys: bool = False,
    not_finite: bool = False,
    encoding: str | None = None,
) -> Any:
    """The value in ``path``.

    ``on_bytes`` sees the raw bytes (for a digest); ``compact`` replaces each object as soon as it is read,
    which keeps large files small in memory; ``unique_keys`` refuses a key that occurs twice in one object;
    ``encoding`` is that of a file that does not say it.
    Raises :class:`UserError` for an absent, truncated, mis-encoded or hostile file, and for NaN or Infinity unless
    they may be there (``not_finite``).
    """
    content = read_content(path, look=Dense())
    if on_bytes is not None:
        on_bytes(content)
    encoding = encoding_of(path, content, encoding)
    try:
        text = content.decode(encoding)
    except UnicodeError:
        raise not_text(path, content, encoding) from None
    del content
    try:
        found = parse(text, compact=compact, unique_keys=unique_keys, not_finite=not_finite)
    except json.JSONDecodeError as error:
        if what := instead(text[:64].encode("utf-8", "replace")):
            raise UserError(f"{path} is no JSON file ({what}); fetch or write the file again.") from None
        byte = len(text[: error.pos].encode("utf-8", "surrogatepass"))
        raise UserError(
            f"{path} is not complete JSON: {error.msg.lower()} at byte {byte}; fetch or write the file again."
        ) from None
    except ValueError as error:
        raise UserError(f"{path} is not acceptable JSON ({error}); fetch or write the file again.") from None
    require_whole(found, text, f"{path}: ")
    return found


def parse(
    text: str,
    *,
    compact: Callable[[dict[str, Any]], Any] | None = None,
    unique_keys: bool = False,
    not_finite: bool = False,
) -> Any:
    """The value of a JSON text of ordinary depth; a ``ValueError`` in words for any other."""
    try:
        found = json.loads(
            text,
            object_hook=compact,
            object_pairs_hook=_unique if unique_keys else None,
            parse_constant=float if not_finite else _no_constant,
            parse_float=None if not_finite else finite_number,
        )
    except (json.JSONDecodeError, _Refused):
        raise
    except RecursionError:
        raise _Refused(_TOO_DEEP) from None
    except ValueError as error:
        # Python's own words on a number of over 4,300 digits advise to allow it.
        raise _Refused(str(error).partition(";")[0][:120]) from None
    if _is_deeper(found, _DEEPEST):
        raise _Refused(_TOO_DEEP)
    return found


def require_whole(value: Any, text: str, at: str) -> None:
    """Raises :class:`UserError` for half a character (a lone surrogate) in ``value``, which ``text`` was read as:
    no file can hold it, so that what was accepted here could not be written."""
    if _HALF.search(text) is None:
        return
    if (steps := _to_half(value)) is not None:
        place = "".join(steps).removeprefix(".") or "the text"
        raise UserError(f"{at}{place} holds half a character (a lone surrogate); fix that record.")


def _to_half(value: Any) -> list[str] | None:
    """The way to the first text that no encoding can write; None if there is none."""
    if isinstance(value, str):
        return None if _is_whole(value) else []
    if isinstance(value, dict):
        for key, inner in value.items():
            if not _is_whole(key):
                return [f" a key, {brief(key, 40)},"]
            if (steps := _to_half(inner)) is not None:
                return [f".{key[:40]}", *steps]
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if (steps := _to_half(inner)) is not None:
                return [f"[{index}]", *steps]
    return None


def _is_whole(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _is_deeper(value: Any, most: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"the key {brief(twice)} occurs twice in one object")
    return record


def _no_constant(name: str) -> Any:
    raise _Refused(f"{name} is not a number")
