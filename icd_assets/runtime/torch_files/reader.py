"""A file of ``torch.save`` as the object in it: container, pickle and numbers each checked on the bytes that are
then used. Nothing in the file is executed, and no more is built than its size warrants."""

from __future__ import annotations

import mmap
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import first_line
from icd_assets.runtime.plain_file import in_words, open_plain
from icd_assets.runtime.torch_files.container import NUMBERS, ORDER, PICKLE, Entry, Inexact, entries
from icd_assets.runtime.torch_files.pickled import Refused, unpickle

_MOST_OBJECTS = 640 << 20  # bytes that all that is not numbers may take
_MOST_CHECKED = 4 << 30  # bytes; both towers of CLIP ViT-H have less
_AT_ONCE = 16 << 20


def nothing(name: str) -> None:
    """No stand-in for any name: a file of tensors and plain values alone."""
    return


def read_file(
    path: Path,
    stand_in: Callable[[str], Any] = nothing,
    *,
    mapped: bool = False,
    sound: Callable[[Any], Iterable[Tensor]] = lambda _: (),
    only_tensors: bool = False,
    most_numbers: int | None = None,
    most_objects: int = _MOST_OBJECTS,
) -> Any:
    """The object in the file; raises ``UserError``.

    stand_in: what to put for a name that is no tensor's, or None to refuse the file. mapped: numbers stay in the
    file until they are used; compared with their checksums are only those that ``sound`` names. only_tensors:
    refuse also what is merely passed over. most_numbers, most_objects: bytes of memory that the numbers, and all
    else, may take.
    """
    try:
        file = open_plain(path)
    except OSError as error:
        raise UserError(f"{path}: {in_words(error)}.") from None
    with file:
        try:
            storages = _Storages(file, mapped, most_numbers)
            pickled = storages.pickled(most_objects)
            result = unpickle(pickled, storages, stand_in, most=most_objects, only_tensors=only_tensors)
            storages.require_sound(sound(result))
        except Inexact as error:
            raise UserError(f"{path}: {error}; copy or make it again.") from None
        except Refused as error:
            raise UserError(f"{path}: refused, it holds more than tensors and numbers ({error}).") from None
        # A hostile or damaged file can fail in any way, the memory among them; each is the file's fault.
        except Exception as error:  # noqa: BLE001
            what = first_line(error, 160).rstrip(".")
            raise UserError(f"{path}: damaged or not a checkpoint ({what}); copy or make it again.") from None
    return result


class _Storages:
    """The numbers in a file, each entry read once however many tensors are views of it."""

    def __init__(self, file: BinaryIO, mapped: bool, most: int | None) -> None:
        self._file, self._mapped = file, mapped
        size = os.fstat(file.fileno()).st_size
        # Writable, as torch asks for, in copies that are this process' own.
        self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if size else b""
        self._entries = entries(memoryview(self._content))
        self._left = size if most is None else most
        self._found: dict[str, Tensor] = {}
        self._unchecked: dict[int, Entry] = {}  # by the address in memory

    def pickled(self, most: int) -> bytes:
        order, pickled = self._entries.get(ORDER), self._entries[PICKLE]
        if order is not None and (order.size > 16 or self._bytes(order) != sys.byteorder.encode()):
            raise ValueError("numbers of a machine of the other byte order")
        if pickled.size > most:
            raise ValueError(f"a pickle of {pickled.size:,} bytes, where such a file's has at most {most:,}")
        return bytes(self._bytes(pickled))

    def __call__(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        if key not in self._found:
            self._found[key] = self._numbers(key, dtype, count)
        found = self._found[key]
        if found.dtype != dtype or found.numel() != count:
            raise ValueError(f"numbers {key[:20]} are of two types or sizes")
        return found

    def _numbers(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        entry, size = self._entries[NUMBERS + key], count * dtype.itemsize
        if size > entry.size:
            raise ValueError(f"{NUMBERS}{key} holds {entry.size} bytes, not {size}")
        if size == 0:
            return torch.empty(0, dtype=dtype)
        if self._mapped and entry.start % dtype.itemsize == 0:
            numbers = torch.frombuffer(self._content, dtype=dtype, count=count, offset=entry.start)
            self._unchecked[numbers.data_ptr()] = entry
            return numbers
        self._left -= entry.size
        if self._left < 0:
            raise ValueError("more numbers than such a file has")
        return torch.frombuffer(self._bytes(entry), dtype=dtype, count=count)

    def require_sound(self, tensors: Iterable[Tensor]) -> None:
        """Raise ``ValueError`` if their numbers are not those that were written; of very many it is not known."""
        addresses = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        doubtful = [self._unchecked[address] for address in addresses & self._unchecked.keys()]
        if sum(entry.size for entry in doubtful) <= _MOST_CHECKED:
            for entry in doubtful:
                _require_sum(entry, self._read(entry))

    def _bytes(self, entry: Entry) -> bytearray:
        """By reading: what is looked at through the map stays in memory."""
        found = bytearray(entry.size)
        at = 0
        with memoryview(found) as view:
            for part in self._read(entry):
                view[at : at + len(part)] = part
                at += len(part)
        _require_sum(entry, [found])
        return found

    def _read(self, entry: Entry) -> Iterator[bytes]:
        at, end = entry.start, entry.start + entry.size
        while at < end:
            part = os.pread(self._file.fileno(), min(_AT_ONCE, end - at), at)
            if not part:
                raise ValueError("the file became shorter")
            yield part
            at += len(part)


def _require_sum(entry: Entry, parts: Iterable[bytes | bytearray]) -> None:
    if entry.crc == 0:  # torch can leave it out
        return
    found = 0
    for part in parts:
        found = zlib.crc32(part, found)
    if found != entry.crc:
        raise ValueError("its bytes are not those that were written: their checksum differs")
