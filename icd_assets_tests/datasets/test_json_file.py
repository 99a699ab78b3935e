"""A file that is no sane JSON is refused before it is read."""

from __future__ import annotations

import os
import resource
import subprocess

import pytest

from icd_assets.datasets import text_file
from icd_assets.datasets.json_file import read_json
from icd_assets.errors import UserError
from icd_assets_tests.programs import program


def test_ten_gibibytes_that_are_not_there_cost_nothing(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.write(b'{"questions": [')
        file.truncate(10 << 30)
    command = program("read_json_in_one_gib", str(path))
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "declares 10240 MiB, but JSON is read up to 4096 MiB" in found.stdout


def test_a_sparse_file_within_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "sparse.json"
    with path.open("wb") as file:
        file.write(b"[1]" + b" " * 8192)
        file.truncate(3 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"sparse\.json declares 3221225472 bytes but holds fewer"):
        read_json(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_the_limit_is_of_bytes_declared(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "LIMIT", 10)
    (tmp_path / "small.json").write_text("[1, 2, 3]")
    assert read_json(tmp_path / "small.json") == [1, 2, 3]
    (tmp_path / "large.json").write_text("[1, 2, 3, 4]")
    with pytest.raises(UserError, match=r"large\.json declares"):
        read_json(tmp_path / "large.json")


def test_an_endless_device_and_a_pipe_are_no_files(tmp_path):
    from pathlib import Path

    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(UserError, match=r"cannot be read \(it is a (device|pipe), not a file\)"):
            read_json(path)
