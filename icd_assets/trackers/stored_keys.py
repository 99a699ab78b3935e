"""The keys that trackers find by themselves, where their own log-in has left them: no text of ours shows one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from icd_assets.runtime.small_file import read_small_text

_MOST = 1 << 20  # bytes
_KEY = re.compile(
    r"\b(?:password|passwd|api_?key|token|mlflow_tracking_(?:password|token))\b\s*[=:]?\s*(\S{6,4096})", re.I
)


def stored_keys() -> set[str]:
    """Those in ``.netrc`` (Weights & Biases) and in MLflow's file of credentials. Empty where none can be read."""
    return _read(tuple(_places()))


@lru_cache(maxsize=8)
def _read(places: tuple[Path, ...]) -> set[str]:
    found: set[str] = set()
    for path in places:
        with suppress(OSError, ValueError):
            found |= {key.strip("\"'") for key in _KEY.findall(read_small_text(path, _MOST))}
    return found


def _places() -> Iterator[Path]:
    if named := os.environ.get("NETRC"):
        yield Path(named)
    try:
        home = Path.home()
    except RuntimeError:  # of a user without one
        return
    yield from (home / name for name in (".netrc", "_netrc", ".mlflow/credentials", ".config/wandb/settings"))
