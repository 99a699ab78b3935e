"""``${NAME:-default}`` in the texts of a catalog: from the environment, within bounds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.user_path import expanded

PACKAGE = Path(__file__).parents[1]
_LONGEST = 8192  # characters of a text with variables, before and after
_ALL = 4 << 20  # characters of all of them
# A default may hold variables itself, but no further defaults of defaults.
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>(?:[^{}]|\$\{[^{}]*\})*))?\}")


def variables(texts: Iterable[Any]) -> list[str]:
    """The names in ``${NAME}`` and ``${NAME:-…}``, each once; a file of a split can be moved by them."""
    return list(dict.fromkeys(name for text in texts for name in re.findall(r"\$\{(\w+)", str(text))))


class Expansion:
    """Replaces the variables of one file, whose texts together may not grow without end.

    ``of(value)`` is a copy. Raises ``UserError`` for a variable that is not set and has no default, and for a text
    that becomes too long.
    """

    def __init__(self, where: Path) -> None:
        self._where = where
        self._left = _ALL

    def of(self, value: Any) -> Any:
        """``${NAME:-default}`` from the environment, ``${package}`` for the package's folder."""
        if isinstance(value, Mapping):
            return {key: self.of(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.of(inner) for inner in value]
        if not isinstance(value, str) or "${" not in value:
            return value
        self._require_short(value, len(value))
        text = self._replaced(value, value)
        self._left -= len(text)
        if self._left < 0:
            raise UserError(f"{self._where}: its texts have more than {_ALL:,} characters together; shorten them.")
        return text

    def _replaced(self, text: str, whole: str) -> str:
        parts: list[str] = []
        at = length = 0
        for match in _VARIABLE.finditer(text):
            parts += [text[at : match.start()], self._value(match["name"], match["default"], whole)]
            length += len(parts[-2]) + len(parts[-1])
            self._require_short(whole, length)
            at = match.end()
        parts.append(text[at:])
        self._require_short(whole, length + len(parts[-1]))
        return "".join(parts)

    def _value(self, name: str, default: str | None, whole: str) -> str:
        if name == "package":
            return str(PACKAGE)
        if found := os.environ.get(name):
            self._require_short(whole, len(found))
            return str(expanded(found, name)) if found.startswith("~") else _encodable(found, name)
        if default is None:
            raise UserError(
                f"catalog: the environment variable {brief(name)[1:-1]} is not set; set it or give a default."
            )
        return self._replaced(default, whole)

    def _require_short(self, text: str, length: int) -> None:
        if length > _LONGEST:
            raise UserError(
                f"{self._where}: {brief(text)} has {length:,} characters or more with its variables written out, "
                f"of which {_LONGEST:,} are taken; shorten it, or what they are set to."
            )


def _encodable(text: str, name: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(
            f"{name}={brief(text)} is not UTF-8, as records of paths are; give another path to the same place, "
            "such as a link with a plain name."
        ) from None
    if "\0" in text:
        raise UserError(f"{name}={brief(text)} holds a NUL; set it to a path.")
    return text
