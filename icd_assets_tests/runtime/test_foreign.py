from __future__ import annotations

import traceback
from typing import Any

import pytest

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, harmless, printable


def test_words_of_any_language_and_our_own_lines_stay() -> None:
    text = "Où est-il ?\n\t\N{FAMILY}\N{ZERO WIDTH JOINER}می\N{ZERO WIDTH NON-JOINER}خواهم → ±.7"
    assert harmless(text) == text


@pytest.mark.parametrize(
    "sign", ["\x1b", "\x07", "\x7f", "\x9b", "\r", "\x00", "\u202e", "\u2066", "\u2028", "\ud800"]
)
def test_what_steers_a_terminal_or_is_no_character_is_replaced(sign: str) -> None:
    assert harmless(f"a{sign}[2Jb") == printable(f"a{sign}[2Jb") == "a\N{REPLACEMENT CHARACTER}[2Jb"


def test_a_name_stays_on_its_line() -> None:
    assert printable("a\nb\tc") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


def shared() -> list[Any]:
    value: list[Any] = []
    for _ in range(100):
        value = [value, value, value]
    return value


def deep() -> tuple[Any, ...]:
    value: tuple[Any, ...] = ()
    for _ in range(400_000):
        value = (value,)
    return value


class Endless:
    def __repr__(self) -> str:
        raise AssertionError("shown by its own words")


@pytest.mark.parametrize("make", [shared, deep, lambda: "x" * 10**7, lambda: b"x" * 10**7, lambda: 10**100_000])
def test_a_brief_text_is_brief(make: Any) -> None:
    assert 1 < len(brief(make())) <= 80


def test_plain_values_are_written_as_python_does() -> None:
    assert brief({"a": [1, None, "é"]}) == "{'a': [1, None, 'é']}"
    assert brief(Endless()) == "<Endless>"
    assert brief("\x1b[2J") == r"'\x1b[2J'"
    assert brief(10**100_000).startswith("<a number of 332193 bits>")


def test_a_users_mistake_is_shown_harmless_by_whatever_shows_it() -> None:
    error = UserError("a\x1b]0;title\x07: no such file;\n  give another.")
    assert str(error) == f"{error}" == "a\ufffd]0;title\ufffd: no such file;\n  give another."
    assert "\x1b" not in "".join(traceback.format_exception(error))
