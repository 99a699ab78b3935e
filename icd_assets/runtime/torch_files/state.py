"""A file of weights that another library will load: looked through by the reader that trusts nothing.

Before torch 1.6 such a file was five pickles (a mark, a version, the machine's sizes, the object, the keys of its
numbers) and then the numbers, each with its count before it. These too are taken only to the last byte.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief, first_line
from icd_assets.runtime.plain_file import in_words, open_plain
from icd_assets.runtime.torch_files.pickled import unpickle
from icd_assets.runtime.torch_files.reader import nothing, read_file
from icd_assets.runtime.torch_files.walk import walk_first

_MOST_OBJECTS = 256 << 20  # bytes that all that is not numbers may take
_MOST_PICKLED = 32 << 20  # bytes before the numbers of an older file
_MARK, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_COUNT = 8


def require_tensors(path: Path) -> None:
    """Raise ``UserError`` unless the file holds tensors by their names, each of numbers that are in the file, and
    names nothing else. Its numbers are not read."""
    content = read_file(path, mapped=True, only_tensors=True, most_objects=_MOST_OBJECTS)
    _require(path, content)


def require_older_tensors(path: Path) -> None:
    """The same of a file as torch wrote it before 1.6."""
    try:
        with open_plain(path) as file:
            content = _older(file)
    except OSError as error:
        raise UserError(f"{path}: {in_words(error)}.") from None
    except Exception as error:  # noqa: BLE001 - a hostile or damaged file can fail in any way
        raise UserError(f"{path}: damaged, or not written by torch.save ({first_line(error, 160)}).") from None
    _require(path, content)


def _require(path: Path, content: Any) -> None:
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, expected tensors by their names.")
    for name, value in content.items():
        if type(name) is not str or type(value) is not Tensor or value.layout is not torch.strided:
            raise UserError(f"{path}: {brief(name)} is not a tensor of plain numbers.")
        if value.nbytes > value.untyped_storage().nbytes():
            raise UserError(f"{path}: tensor {brief(name)} claims more numbers than the file holds.")


def _older(file: BinaryIO) -> Any:
    size = os.fstat(file.fileno()).st_size
    start = file.read(_MOST_PICKLED)
    try:
        tarfile.TarInfo.frombuf(start[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        pass
    else:
        raise ValueError("an archive of another kind at the same time")
    numbers: dict[str, Tensor] = {}
    left = size

    def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        """As many numbers as there, which are never looked at and so take no memory."""
        nonlocal left
        if key not in numbers:
            left -= count * dtype.itemsize
            if left < 0:
                raise ValueError("more numbers than the file has")
            numbers[key] = torch.empty(count, dtype=dtype)
        if (found := numbers[key]).dtype != dtype or found.numel() != count:
            raise ValueError(f"numbers {key[:20]} are of two types or sizes")
        return found

    parts, at = [], 0
    for _ in range(5):
        _, length = walk_first(start[at:], _MOST_OBJECTS)
        pickled = start[at : at + length]
        parts.append(unpickle(pickled, storage, nothing, most=_MOST_OBJECTS, only_tensors=True))
        at += length
    mark, version, machine, content, keys = parts
    if mark != _MARK or version != _VERSION or not isinstance(machine, dict):
        raise ValueError("another mark or version")
    if machine.get("little_endian") is not True or not isinstance(keys, list):
        raise ValueError("numbers of a machine of the other byte order")
    if len(keys) != len(numbers) or set(keys) != numbers.keys():
        raise ValueError("numbers that are not there, or that nothing uses")
    for key in keys:
        if os.pread(file.fileno(), _COUNT, at) != numbers[key].numel().to_bytes(_COUNT, "little"):
            raise ValueError("numbers of another count than the tensors say")
        at += _COUNT + numbers[key].nbytes
    if at != size:
        raise ValueError(f"it has {size:,} bytes, and what it says comes to {at:,}")
    return content
