"""Licences, as the hub spells them."""

from __future__ import annotations

import re

from icd_assets.errors import UserError


def require_license(text: str | None, flag: str) -> None:
    """Raises ``UserError`` for what cannot be the id of a licence."""
    if text is not None and re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,60}", text) is None:
        raise UserError(f"{flag} {text!r} is no id of a licence as the hub spells it, such as mit or apache-2.0.")


def require_named(text: str | None, flag: str) -> None:
    """Raises ``UserError`` where none is named: without one, nobody may use what is published."""
    if text is None:
        raise UserError(f"{flag} is missing: name the licence under which others may use it, such as {flag} mit.")
