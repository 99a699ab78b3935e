"""Which process a record speaks of: alive, gone, or beyond what can be seen from here.

A process number alone does not suffice: the kernel gives it out again, and another machine or container counts its
own. So the record also holds when the process was born, in clock ticks since a boot that has a name of its own.
The wall clock is left out of it: whenever it is set, every process would seem another.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_ENDED = ("Z", "X")  # a zombie has ended; only its parent has not waited for it yet


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process: ``born`` is ``<boot>/<pid namespace>/<ticks>``, empty on a system without these."""

    host: str
    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> ProcessRecord:
        """The process ``pid`` of this machine, which is alive."""
        state = _state(pid)
        table = process_table()
        return cls(socket.gethostname(), pid, f"{table}/{state[1]}" if table and state else "")

    def gone(self) -> bool | None:
        """Whether the process has ended; None if that cannot be known from here."""
        table = process_table()
        if not self.born or not table:
            same_host = self.host == socket.gethostname()
            return absent(self.pid) if same_host else None
        their_table, _, ticks = self.born.rpartition("/")
        if their_table == table:
            state = _state(self.pid)
            if state is None:
                return absent(self.pid)
            return state[0] in _ENDED or state[1] != ticks
        if their_table.split("/")[0] == table.split("/")[0]:
            return None  # another container of this machine
        return True if self.host == socket.gethostname() else None  # started anew since, or another machine

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def process_table() -> str:
    """``<boot>/<pid namespace>``: within one of these a number and its ticks name one process."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink()
        return f"{_BOOT.read_text().strip()}/{namespace}"
    except OSError:
        return ""


def _state(pid: int) -> tuple[str, str] | None:
    """(state, start in ticks since boot), fields 3 and 22 of proc(5)'s stat; None if it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], fields[19]


def absent(pid: int) -> bool:
    """True only if the system knows no such process: the process of another user may be hidden and alive."""
    if not 0 < pid < 2**31:  # no process has such a number; to the system the negative ones are groups
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
