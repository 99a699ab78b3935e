"""SHA-256 of files and folders, remembered per (path, size, mtime) so that a second look costs a stat."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from icd_assets.runtime.plain_file import open_plain
from icd_assets.runtime.small_file import SMALL, read_small_json
from icd_assets.store.atomic import write_atomic

_DIGEST = re.compile("[0-9a-f]{64}")


def sha256_json(value: Any) -> str:
    """Digest of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Raises ``OSError`` for what is no regular file: a pipe would be waited for, a device has no end."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DigestCache:
    """Digests of files, kept in one JSON file. Losing it costs time, never truth.

    ``rehash``: believe nothing remembered, but read each file once more; a file changed behind an unchanged size
    and mtime is then known to everyone who remembers.
    """

    def __init__(self, path: Path, *, rehash: bool = False) -> None:
        self.path = path
        self._rehash = rehash
        self._hashed: set[str] = set()  # in this process
        self._known: dict[str, list[Any]] | None = None
        self._later = False

    def file(self, path: Path) -> str:
        """SHA-256 of a file's bytes; read again only if its size or mtime changed."""
        known = self._load()
        stat = path.stat()
        key, stamp = str(path.absolute()), [stat.st_size, stat.st_mtime_ns]
        entry = known.get(key)
        believed = not self._rehash or key in self._hashed
        if believed and entry is not None and entry[:2] == stamp:
            return str(entry[2])
        digest = sha256_file(path)
        known[key] = [*stamp, digest]
        self._hashed.add(key)
        self._save()
        return digest

    def learn(self, digests: Mapping[Path, str]) -> None:
        """Digests of files that were hashed under other names, just before they were moved."""
        for path, digest in digests.items():
            stat = path.stat()
            self._load()[str(path.absolute())] = [stat.st_size, stat.st_mtime_ns, digest]
        self._save()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is hashed inside is written once, at the end: many small files then cost no more than hashing."""
        self._later = True
        try:
            yield
        finally:
            self._later = False
            self._save()

    def files(self, paths: Iterable[Path]) -> str:
        """One digest over several files' names and bytes."""
        return sha256_json([[path.name, self.file(path)] for path in paths])

    def _load(self) -> dict[str, list[Any]]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[str, list[Any]]:
        try:
            content = read_small_json(self.path)
        except (OSError, ValueError):
            return {}
        known = content.items() if isinstance(content, dict) else ()
        return {path: entry for path, entry in known if _is_entry(entry)}

    def _save(self) -> None:
        """What another process found out meanwhile is kept. A full or read-only disk is no reason to fail."""
        if self._later:
            return
        self._known = self._read() | (self._known or {})
        content = json.dumps(self._known).encode()
        if len(content) > SMALL:  # it would not be read again: the newer half stays
            self._known = dict([*self._known.items()][len(self._known) // 2 :])
            content = json.dumps(self._known).encode()
        with suppress(OSError):
            write_atomic(self.path, content)


def _is_entry(entry: object) -> bool:
    """Whether it is ``[size, mtime, digest]``, as we write it."""
    if not isinstance(entry, list) or [type(one) for one in entry] != [int, int, str]:
        return False
    return _DIGEST.fullmatch(entry[2]) is not None
