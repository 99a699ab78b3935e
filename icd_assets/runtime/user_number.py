"""A number that the user gives in a variable."""

from __future__ import annotations

import os

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief

_MOST_DIGITS = 9


def number_from(variable: str, what: str, most: int) -> int | None:
    """``$variable``, a number of ``what`` from 1 to ``most``; None if it is not set. Raises ``UserError``."""
    if not (setting := os.environ.get(variable)):
        return None
    if (number := number_in(setting, most)) is not None:
        return number
    raise UserError(f"{variable} is {brief(setting)}; set it to a number of {what}, 1 to {most:,}.")


def number_in(text: str, most: int) -> int | None:
    """The number from 1 to ``most`` that ``text`` is; None if it is none."""
    plain = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if plain and 1 <= int(text) <= most else None
