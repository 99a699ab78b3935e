"""The evaluation that is about to be replaced stays, so that the new one can be compared with it.

``earlier/<when>_<version>/`` beside the evaluation holds its predictions, its comparison and its record. The
record is written last: a folder without one is half of a copy, and is written again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icd_assets.evaluation.predictions import NAME
from icd_assets.store.atomic import write_atomic

EARLIER = "earlier"
RECORD = "manifest.json"  # no artifact's manifest: its name is not that of one
KEPT = (NAME, "comparison.json")


def keep(folder: Path, manifest: Mapping[str, Any]) -> Path | None:
    """Copy what lies in ``folder``; None where it is not whole. ``manifest``: its record, as plain JSON."""
    if not all((folder / name).is_file() for name in KEPT):
        return None
    when = re.sub("[^0-9T]", "", manifest["created_at"].partition("+")[0])
    target = folder / EARLIER / f"{when}_{manifest['data_version'][:8]}"
    if not (target / RECORD).is_file():
        for name in KEPT:
            write_atomic(target / name, (folder / name).read_bytes())
        write_atomic(target / RECORD, (json.dumps(manifest, indent=1) + "\n").encode())
    return target
