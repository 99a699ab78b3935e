"""Sampler features on disk: two ``.npy`` files, mapped into memory when read.

They are a cache: losing them costs time, never truth. A file that is damaged, of another shape or not normalized
counts as absent.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icd_assets.durable import replacing
from icd_assets.pools.similarity import Features, SamplerFeatures


def write_features(base: Path, made: SamplerFeatures) -> None:
    """``<base>-text.npy`` and ``<base>-image.npy``, each whole or not at all."""
    base.parent.mkdir(parents=True, exist_ok=True)
    for kind, features in (("text", made.text), ("image", made.image)):
        with replacing(_path(base, kind)) as file:
            np.save(file, features, allow_pickle=False)


def read_features(base: Path, rows: int) -> SamplerFeatures | None:
    """The features of ``rows`` rows, or None if there are no sound ones."""
    try:
        text, image = (_mapped(_path(base, kind), rows) for kind in ("text", "image"))
        return SamplerFeatures(text=text, image=image)
    except (OSError, ValueError, EOFError):
        return None


def _mapped(path: Path, rows: int) -> Features:
    # A plain array over the mapping: numpy's own type for it is slow to take rows from.
    found: Features = np.asarray(np.lib.format.open_memmap(path, mode="r"))
    if len(found) != rows:
        raise ValueError(f"{len(found)} rows")
    return found


def _path(base: Path, kind: str) -> Path:
    return base.with_name(f"{base.name}-{kind}.npy")
