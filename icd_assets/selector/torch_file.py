"""Files of ``torch.save``: read without trusting them, written so that equal content gives equal bytes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, printable
from icd_assets.runtime.torch_files.reader import read_file
from icd_assets.runtime.torch_files.stubs import array_stand_in, settings_stand_in

_LARGEST_SELECTOR = 384 << 20  # bytes of numbers
_LARGEST_ARRAY = 4 << 30  # bytes


def read_torch_file(path: Path, *, lightning: bool = False, most: int = _LARGEST_SELECTOR) -> dict[str, Any]:
    """The dict in the file, on the CPU. Nothing in the file is executed.

    lightning: also accept the settings objects of a trainer in it (OmegaConf's, Lightning's), and drop them; its
    numbers, which are often gigabytes, stay in the file until they are used. most: bytes of numbers otherwise.
    """
    if lightning:
        content = read_file(path, settings_stand_in, mapped=True, sound=_of_trainers)
    else:
        content = read_file(path, most_numbers=most)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, expected a checkpoint (a dict).")
    return content


def _of_trainers(content: Any) -> Iterator[Tensor]:
    """The tensors that are used of a trainer's checkpoint."""
    for key in ("state_dict", "model_state_dict") if isinstance(content, dict) else ():
        found = content.get(key)
        for value in found.values() if isinstance(found, dict) else ():
            if isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta:
                yield value


def read_array_file(path: Path, *, most: int = _LARGEST_ARRAY) -> Any:
    """Tensors, memory-mapped, and NumPy arrays, as :class:`..stubs.ArrayRecord`. Nothing is executed.

    most: bytes of memory that NumPy arrays may take.
    """
    return read_file(path, array_stand_in, mapped=True, most_numbers=most, most_objects=most)


def tensors(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Tensor]:
    """The dict of dense tensors under ``key``."""
    found = content.get(key)
    if not isinstance(found, dict):
        raise UserError(f"{path}: key {key} is missing or not a dict of tensors; this is another kind of file.")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout is not torch.strided:
            raise UserError(f"{path}: {key}[{brief(name)}] is not a tensor of plain numbers.")
        # An expanded view claims elements that the file does not hold, and would be allocated when used.
        if value.is_meta or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise UserError(f"{path}: tensor {printable(name[:80])} claims more numbers than the file holds.")
    return dict(found)


def torch_bytes(content: Mapping[str, Any]) -> bytes:
    """``torch.save`` whose bytes depend on the content alone.

    In a buffer, because the archive inside carries the file's name; and canonical, because pickle writes an object
    that it has met before differently from an equal one.
    """
    buffer = io.BytesIO()
    torch.save(_canonical(content), buffer)
    return buffer.getvalue()


def _canonical(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True).contiguous()
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, Mapping):
        return {_canonical(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError(f"a checkpoint holds tensors, text and numbers, not {type(value).__name__}")
