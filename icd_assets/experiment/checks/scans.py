"""What checks found, remembered by the content that it was found of: a second run does not look again."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from icd_assets.runtime.finding import Finding
from icd_assets.runtime.small_file import read_small_json
from icd_assets.store.atomic import write_atomic
from icd_assets.store.digests import sha256_json

_MOST = 500  # entries; the oldest go first


class Scans:
    """One JSON file; losing it costs time, never truth. ``read_only``: nothing new is remembered.

    >>> scans.findings(["rl_data", digest], lambda: read_through(path))
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._known = _read(path)

    def value(self, key: Any, compute: Callable[[], Any]) -> Any:
        """A JSON value that depends on ``key``, a JSON value too, and on nothing else."""
        name = sha256_json(key)
        if name not in self._known:
            self._known[name] = compute()
            self._save()
        return self._known[name]

    def put(self, key: Any, value: Any) -> None:
        """Remember a value that has grown."""
        self._known[sha256_json(key)] = value
        self._save()

    def findings(self, key: Any, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
        """What ``look`` finds, or found of the same content. What it raises is not remembered."""
        for fields in self.value(key, lambda: [asdict(finding) for finding in look()]):
            yield Finding(**fields)

    def _save(self) -> None:
        if self._read_only:
            return
        known = _read(self._path) | self._known
        self._known = dict(deque(known.items(), maxlen=_MOST))
        with suppress(OSError):  # a full disk is another check's finding
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path, json.dumps(self._known).encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_small_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
