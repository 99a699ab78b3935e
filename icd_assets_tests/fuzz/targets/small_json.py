"""What reads every manifest, cache and note."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, harmless
from icd_assets.runtime.small_file import read_small_json

SUFFIX = ".json"


def seeds() -> Iterable[bytes]:
    yield b'{"asset": "rl_data", "files": [{"path": "a.json", "bytes": 12, "sha256": "0f"}], "seconds": 1.5}'
    yield b'\xef\xbb\xbf[true, false, null, -0.5e-3, "\\ud83d\\ude00\\n"]'


def read(path: Path) -> Any:
    try:
        found = read_small_json(path)
    except ValueError as error:
        raise UserError(harmless(str(error))) from None
    assert len(brief(found)) <= 80
    return found
