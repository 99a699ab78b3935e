"""What is finished of a long encoding: 4,096 texts or pictures at a time, so that a killed one goes on from there.

Keeping costs nothing but disk: where it cannot be, the work is done again after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from icd_assets.runtime.progress import OnProgress
from icd_assets.store.digests import sha256_json
from icd_assets.store.journal import Journal

PART = 4096


class EncodedParts:
    """Parts in ``folder``, known by what they are of. Everything in one folder is of one encoder and one set of
    pictures."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journal = Journal(folder)
        parts = (self._journal.read() or {}).get("parts")
        self._names: list[str] = parts if isinstance(parts, list) else []

    def get(self, name: str, shape: tuple[int, int]) -> Tensor | None:
        """float32 of ``shape``, or None if it is not there."""
        path, numbers = self._folder / name, shape[0] * shape[1]
        if name not in self._names or not path.is_file() or path.stat().st_size != 4 * numbers:
            return None
        return torch.from_file(str(path), size=numbers).view(shape)

    def put(self, name: str, part: Tensor) -> None:
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(part.contiguous().numpy().tobytes())
            self._names.append(name)
            self._journal.write({"parts": self._names}, [self._folder / one for one in self._names])


def encoded_in_parts(
    contents: Sequence[str],
    width: int,
    encode: Callable[[Sequence[str], OnProgress], Tensor],
    keep: EncodedParts | None,
    on_progress: OnProgress,
) -> Tensor:
    """[n, width] on the CPU: ``encode`` of each part of ``contents``, or what is kept of it. Parts are the same
    whether or not they are kept, so results are too."""
    found = torch.empty(len(contents), width)
    for start in range(0, len(contents), PART):
        part = contents[start : start + PART]
        name = f"{sha256_json(list(part))[:32]}.f32"
        rows = None if keep is None else keep.get(name, (len(part), width))
        if rows is None:
            rows = encode(part, lambda done, _, start=start: on_progress(start + done, len(contents)))  # type: ignore[misc]
            if keep is not None:
                keep.put(name, rows)
        found[start : start + len(part)] = rows
        on_progress(start + len(part), len(contents))
    return found
