"""What a user may have meant by a name that is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(found: str, valid: Iterable[str]) -> str:
    """``rce_epochs or grpo_epochs``; empty if nothing is near."""
    found = found[:200]  # each comparison takes the product of two lengths
    return " or ".join(difflib.get_close_matches(found, list(dict.fromkeys(valid)), n=2, cutoff=0.5))


def did_you_mean(found: str, valid: Iterable[str]) -> str:
    """The end of a sentence that has listed what is valid: a suggestion, or the full stop."""
    return f"; did you mean {names}?" if (names := near(found, valid)) else "."
