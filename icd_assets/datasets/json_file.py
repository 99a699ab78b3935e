"""Reading a JSON file that a user gave us: what is wrong with it is said once, with file and place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from icd_assets.datasets.text_file import encoding_of, not_text, read_content
from icd_assets.errors import UserError
from icd_assets.runtime.instead import instead


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
    content = read_content(path)
    if on_bytes is not None:
        on_bytes(content)
    encoding = encoding_of(path, content, encoding)
    try:
        text = content.decode(encoding)
    except UnicodeError:
        raise not_text(path, content, encoding) from None
    del content
    try:
        return json.loads(
            text,
            object_hook=compact,
            object_pairs_hook=_unique if unique_keys else None,
            parse_constant=float if not_finite else _no_constant,
        )
    except json.JSONDecodeError as error:
        if what := instead(text[:64].encode("utf-8", "replace")):
            raise UserError(f"{path} is no JSON file ({what}); fetch or write the file again.") from None
        byte = len(text[: error.pos].encode())
        raise UserError(
            f"{path} is not complete JSON: {error.msg.lower()} at byte {byte}; fetch or write the file again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not acceptable JSON ({error}); fetch or write the file again.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"the key {twice!r} occurs twice in one object")
    return record


def _no_constant(name: str) -> Any:
    raise _Refused(f"{name} is not a number")
