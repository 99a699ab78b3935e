"""Sampler features on disk: two ``.npy`` files, mapped into memory when read, and their SHA-256 in ``.json``.

They are a cache: losing them costs time, never truth. A file that is damaged, of another shape or not normalized
counts as absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icd_assets.pools.similarity import Features, SamplerFeatures
from icd_assets.runtime.plain_file import open_plain, require_plain
from icd_assets.runtime.small_file import read_small_json
from icd_assets.store.atomic import replacing, write_atomic
from icd_assets.store.digests import DigestCache, sha256_json

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem, VqaSplit

_WIDEST = 1 << 16  # numbers of a vector
_LARGEST_SUMS = 1 << 16  # bytes
_KINDS = ("text", "image")


def features_base(folder: Path, split: VqaSplit, items: Sequence[VqaItem], *, texts: str | None = None) -> Path:
    """Where in ``folder`` the features of ``items`` lie: the whole split or some of its rows.

    texts: what the text features are of, where that is not the questions: ``captions``.
    """
    if texts is not None:
        part = f"-{texts}"
    elif len(items) == len(split):
        part = ""
    else:
        rows = [item.row for item in items]
        part = f"-first{len(rows)}" if rows == list(range(len(rows))) else f"-rows{sha256_json(rows)[:8]}"
    return folder / f"{split.dataset}-{split.split}{part}-{split.digest[:16]}"


def read_or_make(
    base: Path, rows: int, digests: DigestCache, make: Callable[[], SamplerFeatures]
) -> SamplerFeatures:
    """The features of ``rows`` rows: those on disk, or else what ``make`` computes, written there and mapped."""
    if (found := read_features(base, rows, digests)) is None:
        made = make()
        write_features(base, made, digests)
        found = read_features(base, rows, digests) or made
    return found


def write_features(base: Path, made: SamplerFeatures, digests: DigestCache) -> None:
    """``<base>-text.npy`` and ``<base>-image.npy``, each whole or not at all."""
    base.parent.mkdir(parents=True, exist_ok=True)
    for kind, features in zip(_KINDS, (made.text, made.image), strict=True):
        with replacing(_path(base, kind)) as file:
            np.save(file, features, allow_pickle=False)
    seal(base, digests)


def seal(base: Path, digests: DigestCache) -> None:
    """``<base>.json``: what the files are known by. A flipped sign would still be a feature, of something else."""
    write_atomic(_sums(base), json.dumps(_hashed(base, digests)).encode())


def read_features(base: Path, rows: int, digests: DigestCache) -> SamplerFeatures | None:
    """The features of ``rows`` rows, or None if there are no sound ones."""
    try:
        if not sound(base, digests):
            return None
        text, image = (_mapped(_path(base, kind), rows) for kind in _KINDS)
        return SamplerFeatures(text=text, image=image)
    except (OSError, ValueError):
        return None


def sound(base: Path, digests: DigestCache) -> bool:
    """Whether the files are what was written. Raises ``OSError`` or ``ValueError`` where that cannot be known."""
    for kind in _KINDS:
        require_plain(_path(base, kind))
    return bool(read_small_json(_sums(base), _LARGEST_SUMS) == _hashed(base, digests))


def _hashed(base: Path, digests: DigestCache) -> dict[str, str]:
    return {kind: digests.file(_path(base, kind)) for kind in _KINDS}


def _mapped(path: Path, rows: int) -> Features:
    with open_plain(path) as file:
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, by_columns, dtype = read(file)
        except Exception as error:  # noqa: BLE001 - NumPy reads it as Python's own text, which fails in many ways
            raise ValueError(f"no header of NumPy's ({type(error).__name__})") from None
        start, size = file.tell(), path.stat().st_size
    # NumPy would make the file as long as its header says, or an array of nothing with sizes beyond any number.
    plain = len(shape) == 2 and all(type(n) is int for n in shape) and not by_columns and dtype == np.float32
    if not plain or shape[0] != rows or not 0 < shape[1] <= _WIDEST:
        raise ValueError(f"{shape} of {dtype}")
    if size != start + rows * shape[1] * dtype.itemsize:
        raise ValueError(f"{size} bytes")
    # A plain array over the mapping: numpy's own type for it is slow to take rows from.
    found: Features = np.asarray(np.memmap(path, dtype, "r", start, shape))
    return found


def _path(base: Path, kind: str) -> Path:
    return base.with_name(f"{base.name}-{kind}.npy")


def _sums(base: Path) -> Path:
    return base.with_name(f"{base.name}.json")
