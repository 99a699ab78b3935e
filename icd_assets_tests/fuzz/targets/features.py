"""A sampler's features: a cache, so that what is not sound is absent."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from icd_assets.pools.features import _mapped

SUFFIX = ".npy"
REFUSALS = (OSError, ValueError)


def seeds() -> Iterable[bytes]:
    buffer = io.BytesIO()
    np.save(buffer, np.eye(3, 4, dtype=np.float32))
    yield buffer.getvalue()


def read(path: Path) -> Any:
    return float(_mapped(path, 3).sum())
