"""Files of ``torch.save``: read without trusting them, written so that equal content gives equal bytes."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.selector.pickle_stubs import array_stand_in, settings_stand_in
from icd_assets.selector.pickled_tensors import Refused, unpickle


def read_torch_file(path: Path, *, lightning: bool = False) -> dict[str, Any]:
    """The dict in the file, on the CPU. Nothing in the file is executed.

    lightning: also accept the settings objects of a trainer in it (OmegaConf's, Lightning's), and drop them.
    """
    content = _read(path, settings_stand_in if lightning else _nothing)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, expected a checkpoint (a dict).")
    return content


def read_array_file(path: Path) -> Any:
    """Tensors, memory-mapped, and NumPy arrays, as :class:`.pickle_stubs.ArrayRecord`. Nothing is executed."""
    return _read(path, array_stand_in, mapped=True)


def _nothing(name: str) -> None:
    return None


def _read(path: Path, stand_in: Callable[[str], Any], *, mapped: bool = False) -> Any:
    """``stand_in``: what to put for a name that is no tensor's, or None to refuse the file."""
    _check_container(path)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
            folder = pickled.removesuffix("data.pkl")
            order = f"{folder}byteorder"
            if order in archive.namelist() and archive.read(order).decode() != sys.byteorder:
                raise ValueError("numbers of a machine of the other byte order")
            storages = _Storages(file, archive, f"{folder}data/", mapped)
            return unpickle(archive.read(pickled), storages, stand_in)
    except Refused as refused:
        raise UserError(f"{path}: refused, it holds more than tensors and numbers ({refused}).") from None
    except Exception as error:  # a hostile or damaged file can fail in any way; each is the file's fault
        raise UserError(f"{path}: damaged or not a checkpoint ({_what(error)}); copy or make it again.") from error


class _Storages:
    """The numbers in a file, each entry read once however many tensors are views of it."""

    def __init__(self, file: BinaryIO, archive: zipfile.ZipFile, folder: str, mapped: bool) -> None:
        self._file, self._archive, self._folder = file, archive, folder
        self._whole = None
        if mapped:
            size = file.seek(0, io.SEEK_END)
            self._whole = torch.UntypedStorage.from_file(file.name, False, size)
        self._found: dict[tuple[str, torch.dtype], Tensor] = {}

    def __call__(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        if (key, dtype) not in self._found:
            self._found[key, dtype] = self._numbers(self._archive.getinfo(self._folder + key), dtype, count)
        return self._found[key, dtype]

    def _numbers(self, entry: zipfile.ZipInfo, dtype: torch.dtype, count: int) -> Tensor:
        size = count * dtype.itemsize
        if size > entry.file_size:
            raise ValueError(f"{entry.filename} holds {entry.file_size} bytes, not {size}")
        if size == 0:
            return torch.empty(0, dtype=dtype)
        start = self._start(entry)
        if self._whole is None or start % dtype.itemsize or start + size > self._whole.nbytes():
            return torch.frombuffer(bytearray(self._archive.read(entry)), dtype=dtype, count=count)
        return torch.empty(0, dtype=dtype).set_(self._whole[start : start + size], 0, (count,), (1,))

    def _start(self, entry: zipfile.ZipInfo) -> int:
        """Of its content: the entry's own header, its name and what torch.save pads it with come before."""
        self._file.seek(entry.header_offset)
        header = self._file.read(30)
        return entry.header_offset + 30 + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))


def _check_container(path: Path) -> None:
    """A zip whose entries are stored, not compressed, and together no larger than the file: no zip bomb."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise UserError(
            f"{path}: truncated, or not written by torch.save ({_what(error)}); copy or make it again."
        ) from None
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UserError(f"{path}: has compressed entries, which torch.save never writes; it is refused.")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise UserError(f"{path}: its entries claim to be larger than the file; it is damaged or hostile.")


def _what(error: Exception) -> str:
    """The error's first line, shortened."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0][:160].rstrip(".")


def tensors(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Tensor]:
    """The dict of dense tensors under ``key``."""
    found = content.get(key)
    if not isinstance(found, dict):
        raise UserError(f"{path}: key {key} is missing or not a dict of tensors; this is another kind of file.")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout is not torch.strided:
            raise UserError(f"{path}: {key}[{name!r}] is not a tensor of plain numbers.")
        # An expanded view claims elements that the file does not hold, and would be allocated when used.
        if value.is_meta or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise UserError(f"{path}: tensor {name} claims more numbers than the file holds.")
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
