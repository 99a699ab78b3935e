"""What a check found: one line, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from icd_assets.errors import UserError
from icd_assets.runtime import machine_errors
from icd_assets.runtime.foreign import printable

Level = Literal["ok", "fixed", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """``problem`` is what would stop the run; ``todo`` is empty where ``found`` says it all."""

    subject: str
    level: Level
    found: str
    todo: str = ""


def findings(subject: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """All that ``check`` finds; a user's mistake on its way is a problem like the others."""
    found: list[Finding] = []
    try:
        for finding in check():
            found.append(finding)
    except UserError as error:
        found.append(Finding(subject, "problem", str(error)))
    except OSError as error:
        if (explained := machine_errors.explain(error)) is not None:
            found.append(Finding(subject, "problem", str(explained).rstrip(".")))
            return found
        place = f"{printable(str(error.filename))}: " if error.filename else ""
        text = error.strerror or str(error)
        found.append(Finding(subject, "problem", f"{place}{text}", "fix the place or its permissions"))
    return found


def in_bytes(count: float) -> str:
    """``7.0 GiB``"""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        units.pop(0)
    return f"{count:.0f} B" if units[0] == "B" else f"{count:.1f} {units[0]}"
