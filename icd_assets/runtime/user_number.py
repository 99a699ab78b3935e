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
    if setting.isascii() and setting.isdecimal() and len(setting) <= _MOST_DIGITS and 1 <= int(setting) <= most:
        return int(setting)
    raise UserError(f"{variable} is {brief(setting)}; set it to a number of {what}, 1 to {most:,}.")
