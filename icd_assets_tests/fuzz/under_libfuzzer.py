"""``python -m icd_assets_tests.fuzz.under_libfuzzer TARGET CORPUS -flag…``, which the driver starts."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris


def main() -> None:
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["icd_assets", "pickletools", "zipfile", "json", "csv"]):
        from icd_assets_tests.fuzz import driver

        target = driver.load(name)
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="fuzzed-", dir=memory if memory.is_dir() else None)
    path = Path(folder, f"given{target.SUFFIX}")

    def one(content: bytes) -> None:
        driver.attempt(target, path, content)

    for seed in target.seeds():  # imports and caches are no file's doing
        one(seed)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


main()
