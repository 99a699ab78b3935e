"""The lineage that RL data carry."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from icd_assets.lineage.embedded import read_embedded

SUFFIX = ".json"


def seeds() -> Iterable[bytes]:
    lineage = {"asset": "rl_data", "code_version": "1.2", "config_digest": "ab12", "inputs": {"dataset": "0f"}}
    meta = json.dumps({"lineage": lineage})
    yield f'{{"1": {{}},\n"_meta": {meta}}}'.encode()
    yield json.dumps({"1": {}, "_meta": {"lineage": lineage}}, indent=1).encode()


def read(path: Path) -> Any:
    return read_embedded(path)
