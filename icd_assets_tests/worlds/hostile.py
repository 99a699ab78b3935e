"""What anybody may put in the place of a file of ours: no file, no text, no JSON, or JSON of another shape.

>>> for name, put in in_place_of(path):    # each replaces what the one before has put there
...     put()
>>> put_back(path, sound)                  # the file itself
"""

from __future__ import annotations

import copy
import gzip
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Put = Callable[[], None]
DEEP = 100_000  # levels
HUGE = 10 << 30  # bytes, of which none is on the disk
ESCAPE = "\x1b]0;owned\x07\x1b[2J"  # a title for the terminal, and an empty screen
_NUMBER = "1" + "0" * 400

# In the place of a value in JSON, as it stands in the file.
_VALUES = {
    "null": "null",
    "true": "true",
    "minus": "-1",
    "fraction": "0.5",
    "number of 401 digits": _NUMBER,
    "number of 5,000 digits": "9" * 5000,
    "2**63": "9223372036854775808",
    "NaN": "NaN",
    "1e400": "1e400",
    "text": '"text"',
    "empty text": '""',
    "escape codes": json.dumps(ESCAPE),
    "surrogate": '"\\ud800"',
    "NUL": '"a\\u0000b"',
    "out of the folder": '"../../../../../../tmp/out"',
    "absolute": '"/etc/hostname"',
    "long name": json.dumps("n" * 300),
    "list": "[]",
    "list of lists": "[[[[]]]]",
    "list of numbers": "[1, 2]",
    "record": "{}",
    "record of odd keys": '{"a\\u0000b": {"\\ud800": 1}}',
    "deep": "[" * 900 + "]" * 900,
    "key twice": '{"a": 1, "a": 2}',
}
_MARK = "\N{OBJECT REPLACEMENT CHARACTER}"  # stands in no file of ours


def in_place_of(path: Path) -> Iterator[tuple[str, Put]]:
    """Things to put in a regular file's place: what is none, what is no text, what is no JSON of ours."""
    sound = path.read_bytes()
    yield from _no_files(path)
    for name, content in _contents(sound).items():
        yield name, _writes(path, content)


def changed_values(path: Path, most: int = 400) -> Iterator[tuple[str, Put]]:
    """The JSON file at ``path`` with one of its values another: at most ``most`` of them, evenly taken.
    Of a file of a record a line the first one's."""
    lines = path.read_bytes().splitlines(keepends=True) if path.suffix == ".jsonl" else [path.read_bytes()]
    content, rest = json.loads(lines[0]), b"".join([b"\n", *lines[1:]] if lines[1:] else [])
    places = list(_places(content))
    cases = [(place, name) for place in places for name in _VALUES]
    for place, name in cases[:: max(1, -(-len(cases) // most))]:
        found = _with(content, place, _MARK)
        text = json.dumps(found, ensure_ascii=False).replace(json.dumps(_MARK, ensure_ascii=False), _VALUES[name])
        yield f"{'.'.join(map(str, place)) or 'all'}: {name}", _writes(path, text.encode() + rest)


def put_back(path: Path, sound: bytes, times: tuple[int, int] | None = None) -> None:
    """The file itself, with its times in ns (read, changed)."""
    clear(path)
    path.write_bytes(sound)
    if times is not None:
        os.utime(path, ns=times)


def clear(path: Path) -> None:
    """Nothing lies at ``path`` any more."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _no_files(path: Path) -> Iterator[tuple[str, Put]]:
    def put(make: Callable[[], object]) -> Put:
        def done() -> None:
            clear(path)
            make()

        return done

    def folder_with_file() -> None:
        path.mkdir()
        (path / "mine.txt").write_text("mine", encoding="utf-8")

    def sparse() -> None:
        with path.open("wb") as file:
            file.truncate(HUGE)

    yield "pipe", put(lambda: os.mkfifo(path))
    yield "socket", put(lambda: os.mknod(path, stat.S_IFSOCK | 0o600))
    yield "folder", put(path.mkdir)
    yield "folder with a file", put(folder_with_file)
    yield "link to itself", put(lambda: path.symlink_to(path.name))
    yield "link to nothing", put(lambda: path.symlink_to("no-such-file"))
    yield "link to /dev/zero", put(lambda: path.symlink_to("/dev/zero"))
    yield "link to a folder", put(lambda: path.symlink_to("."))
    yield "10 GiB", put(sparse)
    if os.getuid() != 0:  # who is root reads it

        def locked() -> None:
            path.write_bytes(b"{}")
            path.chmod(0)

        yield "unreadable", put(locked)


def _contents(sound: bytes) -> dict[str, bytes]:
    text = sound.decode("utf-8", errors="replace")
    return {
        "empty": b"",
        "first half": sound[: len(sound) // 2],
        "all but the end": sound[:-2],
        "zeros": bytes(4096),
        "sound, then zeros": sound + bytes(512),
        "latin-1": sound.replace(b'": "', b'": "\xe4', 1) if b'": "' in sound else b"\xe4\xf6" + sound,
        "UTF-16": text.encode("utf-16"),
        "mark, then as it was": b"\xef\xbb\xbf" + sound,
        "deep lists": b"[" * DEEP + b"]" * DEEP,
        "deep lists, open": b"[" * DEEP,
        "deep records": b'{"a":' * DEEP,
        "wide list": b"[" + b"0," * 1_000_000 + b"0]",
        "number of 401 digits": _NUMBER.encode(),
        "number of 5,000 digits": b"9" * 5000,
        "NaN": b"NaN",
        "1e400": b'{"a": 1e400}',
        "list": b"[]",
        "list of numbers": b"[1, 2, 3]",
        "number": b"7",
        "null": b"null",
        "text": b'"text"',
        "record": b"{}",
        "records": b'[{"a": {"b": [null]}}]',
        "odd keys": b'{"a\\u0000b": [1, 2, 3], "\\ud800": null}',
        "escape codes": json.dumps({ESCAPE: ESCAPE}, ensure_ascii=False).encode(),
        "bare escape codes": ESCAPE.encode() * 3,
        "surrogates": b'{"\\ud800": "\\udfff"}',
        "surrogates as bytes": b'{"a": "\xed\xa0\x80"}',
        "sound, key twice": sound.replace(b"{", b'{"a": 1, "a": 2, ', 1),
        "text of another": b"remember the milk\n",
        "web page": b"<!DOCTYPE html><html><body>Sign in</body></html>\n",
        "PNG": b"\x89PNG\r\n\x1a\n" + bytes(64),
        "zip": b"PK\5\6" + bytes(18),
        "gzip": gzip.compress(sound, mtime=0),
        "SQLite": b"SQLite format 3\0" + bytes(4080),
        "Parquet": b"PAR1" + bytes(200) + b"PAR1",
        "pickle": b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.",
    }


def _writes(path: Path, content: bytes) -> Put:
    def put() -> None:
        clear(path)
        path.write_bytes(content)

    return put


def _places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to each value in a JSON document, the document itself first."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from _places(one, (*at, name))


def _with(content: Any, place: tuple[str | int, ...], value: Any) -> Any:
    if not place:
        return value
    found = copy.deepcopy(content)
    inner = found
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return found
