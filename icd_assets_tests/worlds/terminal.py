"""A command on a pseudo-terminal: what it writes, and when."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
# How a frame of rich's begins: back to the first column, that row erased, and each row of the last frame above it.
FRAME = re.compile(r"\r(?:\x1b\[2K(?:\x1b\[1A\x1b\[2K)*)+")


@dataclass
class Terminal:
    """One command as it runs: ``pieces`` of (seconds since its start, text). stderr may go into a file instead."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    columns: int = 80
    stderr: Path | None = None
    pieces: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            self._exec()
        os.set_blocking(self._fd, False)
        self._size()

    def _exec(self) -> None:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, self.columns, 0, 0))
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.chdir(self.folder)
        if self.stderr is not None:
            os.dup2(os.open(self.stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.execvpe(self.command[0], list(self.command), dict(self.environment))

    def _size(self) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, self.columns, 0, 0))

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.pieces)

    @property
    def rows(self) -> list[str]:
        """What is left on the screen, row by row; nothing scrolls away."""
        return rows(self.text, self.columns)

    def read(self, seconds: float) -> bool:
        """What comes within ``seconds``; False at the end."""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # Linux' way to say that the other end is closed
            return False
        self.pieces.append((time.monotonic() - self._began, data.decode(errors="replace")))
        return bool(data)

    def read_until(self, wanted: str | Callable[[str], bool], timeout: float = 300) -> None:
        """Until the text, its control codes taken out, holds ``wanted``."""
        until = time.monotonic() + timeout
        fits = wanted if callable(wanted) else lambda text: wanted in text
        while not fits(plain(self.text)):
            if time.monotonic() > until or not self.read(1):
                raise AssertionError(f"{wanted!r} did not come within {timeout} s:\n{self.text[-3000:]}")

    def press_ctrl_c(self) -> None:
        """As the keyboard does: the terminal signals every process in its foreground."""
        os.write(self._fd, b"\x03")

    def end(self, timeout: float = 300) -> int:
        """Wait for the end; the exit code, negative for a signal's number."""
        until = time.monotonic() + timeout
        while self.read(1):
            if time.monotonic() > until:
                os.killpg(self.pid, signal.SIGKILL)
                raise AssertionError(f"did not end within {timeout} s:\n{self.text[-3000:]}")
        _, status = os.waitpid(self.pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)


def plain(text: str) -> str:
    """Without control codes."""
    return _CONTROL.sub("", text)


def rows(text: str, columns: int) -> list[str]:
    """The rows of an endless screen after ``text``; refuses a control code that it does not know."""
    screen: list[list[str]] = [[]]
    row = column = 0
    for code, character in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|([\s\S])", text):
        if not code and character == "\n":
            row, column = row + 1, 0  # a terminal sends \r\n
        elif not code and character == "\r":
            column = 0
        elif not code:
            if column == columns:
                row, column = row + 1, 0
            while len(screen) <= row:
                screen.append([])
            line = screen[row]
            line.extend(" " * (column + 1 - len(line)))
            line[column] = character
            column += 1
        elif code.endswith("A"):
            row = max(0, row - int(code[2:-1] or 1))
        elif code.endswith("K"):
            if row < len(screen):
                del screen[row][0 if code == "\x1b[2K" else column :]
        elif not code.endswith(("m", "h", "l")):
            raise AssertionError(f"unknown control code {code!r}")
        while len(screen) <= row:
            screen.append([])
    return ["".join(line).rstrip() for line in screen]
