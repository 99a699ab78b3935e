"""The ``.env`` of Dagster's home, as text; what it gives must be fit for a process's environment."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.home import parse_env
from icd_assets.runtime.small_file import read_small_text

SUFFIX = ".env"
REFUSALS = (UserError, OSError, UnicodeDecodeError)


def seeds() -> Iterable[bytes]:
    yield b"# paths\nexport OKVQA_PATH='/data/ok vqa'\nA=1\nB=${A}${A:-x}${C:-y}\nD=\"q\\n\"\nEMPTY=\n'ab'=c\n"
    yield b"A=aaaaaaaa\n" + b"".join(b"A%d=${A%d}${A%d}\n" % (n + 1, n, n) for n in range(12))


def read(path: Path) -> object:
    text = read_small_text(path, 1 << 18)
    found = parse_env(text, path, {"A": "outside", "HOME": "/root"})
    for name, value in found.items():
        assert name and not set("=\0") & set(name) and "\0" not in value
        os.fsencode(name + value)
    return found
