"""What a killed ``dagster dev`` leaves at work.

Gap: the web server and the daemon that ``dagster dev`` (1.13.27) started wait for a message to end; killed, it
sends none, and they stay. Beside a new daemon the old one would launch every tick twice.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# After the interpreter.
_COMMANDS = ("-m dagster._daemon ", "-m icd_assets.defs.webserver ", "-m dagster code-server ")
_PROC = Path("/proc")


def left_at_work(home: Path) -> list[int]:
    """The processes, by number, that ``dagster dev`` starts and whose instance is the one at ``home``; none where
    the system does not show them. Those of other users are not seen."""
    wanted = f"DAGSTER_HOME={home}".encode()
    found = []
    for entry in _PROC.glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or another user's
            _, *words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if f"{' '.join(words)} ".startswith(_COMMANDS) and wanted in (entry / "environ").read_bytes().split(
                b"\0"
            ):
                found.append(int(entry.name))
    return sorted(found)
