from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from icd_assets.runtime.small_file import parse_json, read_small, read_small_json, read_small_text


def test_a_file_is_read_whole_with_or_without_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_bytes("\ufeffé\r\n".encode())
    assert read_small(path) == b"\xef\xbb\xbf\xc3\xa9\r\n"
    assert read_small_text(path) == "é\r\n"
    path.write_text('{"a": [1, 2.5, null]}', encoding="utf-8-sig")
    assert read_small_json(path) == {"a": [1, 2.5, None]}


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


def bound_socket(path: Path) -> None:
    os.chdir(path.parent)  # an address is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (os.mkfifo, "it is a pipe, not a file"),
        (bound_socket, "it is a socket, not a file"),
        (Path.mkdir, "it is a folder, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("absent"), "No such file or directory"),
        (sparse, "it has 10,240.0 MiB, of which at most 32 are read"),
    ],
)
def test_what_is_no_small_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path], object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "note")
    with pytest.raises(OSError) as error:
        read_small(tmp_path / "note")
    assert error.value.strerror == words
    assert error.value.filename == str(tmp_path / "note")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe{\x00}\x00", b"[" * 100_000, b"NaN", b"[1e400]", b"-Infinity", b"9" * 5000],
)
def test_what_is_no_plain_json_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "note"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        read_small_json(path)
    with pytest.raises(ValueError):
        parse_json(content.decode("utf-8"))
