"""SHA-256 of files and folders, remembered per (path, size, mtime) so that a second look costs a stat."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def sha256_json(value: Any) -> str:
    """Digest of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DigestCache:
    """Digests of files, kept in one JSON file. Losing it costs time, never truth."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, list[Any]] | None = None

    def file(self, path: Path) -> str:
        """SHA-256 of a file's bytes; read again only if its size or mtime changed."""
        known = self._load()
        stat = path.stat()
        key, stamp = str(path.absolute()), [stat.st_size, stat.st_mtime_ns]
        entry = known.get(key)
        if entry is not None and entry[:2] == stamp:
            return str(entry[2])
        digest = sha256_file(path)
        known[key] = [*stamp, digest]
        self._save()
        return digest

    def files(self, paths: Iterable[Path]) -> str:
        """One digest over several files' names and bytes."""
        return sha256_json([[path.name, self.file(path)] for path in paths])

    def _load(self) -> dict[str, list[Any]]:
        if self._known is None:
            try:
                content = json.loads(self.path.read_text(encoding="utf-8"))
            except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
                content = {}
            self._known = content if isinstance(content, dict) else {}
        return self._known

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self._known), encoding="utf-8")
        temporary.replace(self.path)
