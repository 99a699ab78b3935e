"""Programs that tests run as processes of their own, to kill them, race them or see what they import."""

from __future__ import annotations

import sys


def program(name: str, *arguments: str) -> list[str]:
    """The command that runs ``programs/<name>.py``; its folder or ``PYTHONPATH`` must be the repository."""
    return [sys.executable, "-m", f"{__name__}.{name}", *arguments]
