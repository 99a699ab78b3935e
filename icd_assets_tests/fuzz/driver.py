"""Runs one target under libFuzzer: which lines of ours a file reaches decides what is tried next."""

from __future__ import annotations

import importlib
import pkgutil
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from icd_assets.errors import UserError
from icd_assets_tests.fuzz import targets

_PACKAGE = targets.__name__
_MEMORY = 1024  # MiB, of the process with all that it has loaded
_SECONDS_A_FILE = 10
_LARGEST = 1 << 16  # bytes of a file


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def load(name: str) -> ModuleType:
    return importlib.import_module(f"{_PACKAGE}.{name}")


def attempt(target: ModuleType, path: Path, content: bytes) -> bool:
    """Whether the reader takes the content; raises what no reader may raise."""
    path.write_bytes(content)
    try:
        target.read(path)
    except refusals(target) as error:
        if isinstance(error, UserError):
            str(error).encode("utf-8")
        return False
    return True


def refusals(target: ModuleType) -> tuple[type[Exception], ...]:
    """What the target's reader may raise."""
    found: tuple[type[Exception], ...] = getattr(target, "REFUSALS", (UserError,))
    return found


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """A sound file with a few of its bytes changed, repeated, exchanged or gone."""
    content = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content) + 1)
        until = min(len(content), at + chance.choice((1, 1, 2, 8, 64)))
        match chance.randrange(5):
            case 0:
                content[at:until] = chance.randbytes(until - at)
            case 1:
                del content[at:until]
            case 2:
                content[at:at] = content[at:until] * chance.choice((1, 2, 50))
            case 3:
                content[at:at] = chance.choice((b"\0", b"\xff", b"9" * 400, b"[" * 2000, b"\x1b[2J", b'"\\ud800"'))
            case _:
                del content[at:]
    return bytes(content)


def campaign(name: str, seconds: int, found_in: Path) -> tuple[int, int | None]:
    """(files tried, None) after ``seconds`` without a finding, else (files tried, the exit code). Files that
    lead to a finding are left in ``found_in``."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for index, seed in enumerate(load(name).seeds()):
            (corpus / str(index)).write_bytes(seed)
        command = [
            *(sys.executable, "-m", "icd_assets_tests.fuzz.under_libfuzzer", name, str(corpus)),
            *(f"-max_total_time={seconds}", f"-timeout={_SECONDS_A_FILE}", f"-rss_limit_mb={_MEMORY}"),
            *(f"-max_len={_LARGEST}", f"-artifact_prefix={found_in}/{name}-", "-print_final_stats=1"),
        ]
        with Path(folder, "log").open("w+") as log:
            code = subprocess.run(command, stderr=log, stdout=log, check=False).returncode
            log.seek(0)
            text = log.read()
    if code:
        (found_in / f"{name}.log").write_text(text, encoding="utf-8")
    tried = re.search(r"number_of_executed_units: (\d+)", text) or re.search(r"#(\d+)(?!.*#\d)", text, re.DOTALL)
    return int(tried[1]) if tried else 0, code or None


def tries(target: ModuleType, count: int, seed: int = 0) -> Iterator[bytes]:
    """Sound files, then ``count`` mutated ones: what the tests try without libFuzzer."""
    chance, sound = random.Random(seed), list(target.seeds())
    yield from sound
    for _ in range(count):
        yield mutated(chance.choice(sound), chance)
