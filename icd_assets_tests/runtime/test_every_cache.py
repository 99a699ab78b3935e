"""What stands in the place of a file that only saves time: it is made again, whatever it is, and nothing waits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icd_assets.datasets.columns import read_table
from icd_assets.experiment.checks import models, scans, texts
from icd_assets.store.digests import DigestCache

Put = Callable[[Path], object]
PUTS: dict[str, Put] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path),
    "sparse": lambda path: os.truncate(_new(path), 10 << 30),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(b'{"a": [1'),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe" * 50),
    "deep": lambda path: path.write_bytes(b"[" * 300_000),
    "list": lambda path: path.write_bytes(b"[7]"),
    "huge number": lambda path: path.write_bytes(b'{"projection_dim": 1' + b"0" * 5000 + b"}"),
    "other shape": lambda path: path.write_bytes(b'{"projection_dim": "512", "key": [], "a": null}'),
}
READERS: dict[str, tuple[Callable[[Path], Any], tuple[Any, ...]]] = {
    "parsed split": (lambda path: read_table(path, "key"), (None,)),
    "texts": (lambda path: texts._kept(path, "key"), (None,)),
    "digests": (lambda path: DigestCache(path)._read(), ({},)),
    "encoder": (lambda path: models.clip(_encoder(path)), (None,)),  # type: ignore[arg-type]
    "scans": (scans._read, ({}, {"projection_dim": "512", "key": [], "a": None})),
}


def _new(path: Path) -> Path:
    path.touch()
    return path


def _encoder(config: Path) -> SimpleNamespace:
    (config.parent / "model.safetensors").write_bytes(b"w")
    return SimpleNamespace(name="clip", path=str(config.parent), revision=None)


@contextmanager
def _seconds(most: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"not read within {most} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(most)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize("reader", READERS)
def test_it_counts_as_absent(tmp_path: Path, reader: str, put: str) -> None:
    read, absent = READERS[reader]
    path = tmp_path / "config.json"
    PUTS[put](path)
    with _seconds(10):
        assert read(path) in absent
