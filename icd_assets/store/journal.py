"""What is finished of a long step, in its staging folder: a step that was killed goes on from there.

``journal.json`` is written after the files it names, with their digests. If it is torn, or a file is not what it
says, then nothing is known to be finished: that costs time, never truth.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icd_assets.runtime.small_file import read_small_json
from icd_assets.store.atomic import fsync, write_atomic
from icd_assets.store.digests import sha256_file

JOURNAL = "journal.json"


class Journal:
    """The journal of one staging folder. ``facts`` are plain JSON."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[str, str] = {}

    def read(self) -> dict[str, Any] | None:
        """The facts last written, or None if there are none to trust."""
        try:
            content = read_small_json(self._folder / JOURNAL)
            facts, digests, sizes = content["facts"], content["files"], content.get("sizes", {})
            intact = all(self._is_intact(name, digest, sizes.get(name)) for name, digest in digests.items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if not intact or not isinstance(facts, dict):
            return None
        self._digests = digests
        return facts

    def _is_intact(self, name: str, digest: str, size: int | None) -> bool:
        """Names that lead out of the folder are none of ours. One of another size is not read; older journals name
        no sizes."""
        path = self._folder / name
        sized = name == Path(name).name and size in (None, path.stat().st_size)
        return sized and sha256_file(path) == digest

    def write(self, facts: dict[str, Any], files: Sequence[Path]) -> None:
        """From now on ``files`` (in the folder, and not changed any more) are finished."""
        known = self._digests
        self._digests = {}
        for file in files:
            if file.name not in known:
                fsync(file)
            self._digests[file.name] = known.get(file.name) or sha256_file(file)
        sizes = {file.name: file.stat().st_size for file in files}
        content = {"facts": facts, "files": self._digests, "sizes": sizes}
        write_atomic(self._folder / JOURNAL, (json.dumps(content) + "\n").encode())
