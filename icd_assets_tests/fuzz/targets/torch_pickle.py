"""The pickle in a file of ``torch.save``: gone through, followed, and looked through."""

from __future__ import annotations

import argparse
import io
import pickle
import zipfile
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.torch_files.pickled import unpickle
from icd_assets.runtime.torch_files.stubs import ArrayRecord, array_stand_in, settings_stand_in

SUFFIX = ".pkl"
_NUMBERS = torch.arange(64, dtype=torch.uint8)


def seeds() -> Iterable[bytes]:
    weights = torch.arange(6.0).reshape(2, 3)
    shared = [1, (2.5, None), b"\xff" * 3, "é", 1 << 90, frozenset({1}), {2}]
    settings = [argparse.Namespace(a=shared), Counter("aab"), deque(shared[:2]), torch.Size([2]), torch.bfloat16]
    for content in (
        {"a": weights, "b": settings, "c": shared},
        np.ones((2, 2), "float32"),
        OrderedDict(a=weights),
    ):
        for protocol in (2, 5):
            buffer = io.BytesIO()
            torch.save(content, buffer, pickle_protocol=protocol)
            with zipfile.ZipFile(buffer) as archive:
                yield archive.read("archive/data.pkl")


def read(path: Path) -> Any:
    def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        if count * dtype.itemsize > 64:
            raise ValueError("too many")
        return _NUMBERS[: count * dtype.itemsize].clone().view(dtype)

    def stand_in(name: str) -> Any:
        return array_stand_in(name) or settings_stand_in(name)

    try:
        found = unpickle(path.read_bytes(), storage, stand_in, most=64 << 20)
        if isinstance(found, ArrayRecord):
            found = found.array()
    except (pickle.UnpicklingError, Exception) as error:  # noqa: BLE001 - as the reader does
        raise UserError(type(error).__name__) from None
    assert len(brief(found)) <= 80
    return found
