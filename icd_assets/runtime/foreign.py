"""Values and texts from a file of anyone's, as a sentence of ours may show them."""

from __future__ import annotations

import reprlib
from typing import Any

from icd_assets.errors import harmless

__all__ = ["brief", "first_line", "harmless", "printable"]


def printable(text: str) -> str:
    """A name on one line: nothing in it steers the terminal, turns the writing round or breaks the line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def first_line(error: BaseException, most: int = 300) -> str:
    """What a library says of a file, in ``most`` characters of one line, without the advice that follows."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(lines[0][:most])


class _Brief(reprlib.Repr):
    """Four levels deep and a few items wide, so that neither depth nor sharing makes it long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 3, 3, 4, 4
        self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 4
        self.maxstring = self.maxother = self.maxlong = 80

    def repr_int(self, x: int, level: int) -> str:
        # Python writes no number of more than 4,300 digits, and each shorter one in quadratic time.
        return f"<a number of {x.bit_length()} bits>" if x.bit_length() > 256 else super().repr_int(x, level)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x) if len(x) <= 40 else f"{x[:40]!r}…"

    def repr_bytearray(self, x: bytearray, level: int) -> str:
        return self.repr_bytes(bytes(x[:41]), level)

    def repr_instance(self, x: Any, level: int) -> str:
        # A foreign class may have a __repr__ that shows all it holds; the name of its kind says enough.
        return super().repr_instance(x, level) if type(x).__module__ == "builtins" else f"<{type(x).__name__}>"


_BRIEF = _Brief()


def brief(value: object, most: int = 80) -> str:
    """``repr`` of a value that may be as deep, wide or long as a file made it; at most ``most`` characters."""
    text = _BRIEF.repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
