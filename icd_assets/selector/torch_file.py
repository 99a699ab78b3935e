"""Files of ``torch.save``: read without trusting them, written so that equal content gives equal bytes."""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.selector.pickle_stubs import ARRAYS, is_tensors, settings_stand_in


def read_torch_file(path: Path, *, lightning: bool = False) -> dict[str, Any]:
    """The dict in the file, on the CPU. Nothing in the file is executed (``weights_only``).

    lightning: also accept OmegaConf and Lightning settings in it, and drop them.
    """
    content = _read(path, settings_stand_in if lightning else _nothing)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, expected a checkpoint (a dict).")
    return content


def read_array_file(path: Path) -> Any:
    """Tensors, memory-mapped, and NumPy arrays, as :class:`ArrayRecord`. Nothing in the file is executed."""
    return _read(path, ARRAYS.get, mmap=True)


def _nothing(name: str) -> None:
    return None


def _read(path: Path, stand_in: Callable[[str], Any], *, mmap: bool = False) -> Any:
    """``stand_in``: what to put for a name that is no tensor's, or None to refuse the file."""
    _check_container(path)
    allowed: list[Any] = []
    for name in sorted(_globals(path)):
        if is_tensors(name) or (name in ARRAYS and ARRAYS[name] is None and stand_in is not _nothing):
            continue
        if (instead := stand_in(name)) is None:
            raise UserError(f"{path}: refused, it holds more than tensors and numbers ({name}).")
        allowed.append((instead, name))
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("error")  # what torch finds odd in a pickle, we refuse
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: refused, it holds more than tensors and numbers ({_what(error)}).") from None
    except Exception as error:  # a hostile or damaged pickle can fail in any way; each is the file's fault
        raise UserError(f"{path}: damaged or not a checkpoint ({_what(error)}); copy or make it again.") from error


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


def _globals(path: Path) -> set[str]:
    """The name of everything that the file's pickle would call."""
    found: set[str] = set()
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".pkl"):
                    with archive.open(name) as content:
                        for opcode, argument, _ in pickletools.genops(content):
                            if opcode.name == "GLOBAL":
                                module, _, attribute = str(argument).partition(" ")
                                found.add(f"{IMPORT_MAPPING.get(module, module)}.{attribute}")
    except Exception as error:  # as above: any failure to read is the file's fault
        raise UserError(f"{path}: damaged or not a checkpoint ({_what(error)}); copy or make it again.") from error
    return found


def _what(error: Exception) -> str:
    """The error's first line, shortened."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    for line in text:
        if "Unsupported" in line or "unsupported" in line:
            return line.strip().split(" Please use")[0][:160].rstrip(".")
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
    return found


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
