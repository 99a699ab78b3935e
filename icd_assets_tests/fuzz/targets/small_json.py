"""What reads every manifest, cache and note."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from icd_assets.runtime.foreign import brief
from icd_assets.runtime.small_file import read_small_json

SUFFIX = ".json"
REFUSALS = (OSError, ValueError)


def seeds() -> Iterable[bytes]:
    yield b'{"asset": "rl_data", "files": [{"path": "a.json", "bytes": 12, "sha256": "0f"}], "seconds": 1.5}'
    yield b'\xef\xbb\xbf[true, false, null, -0.5e-3, "\\ud83d\\ude00\\n"]'


def read(path: Path) -> Any:
    found = read_small_json(path)
    assert len(brief(found)) <= 80
    return found
