"""The pickle inside a file of ``torch.save``, read by its own unpickler: tensors are rebuilt here, everything else
is met by :mod:`.stubs`, and nothing that the file names is imported or called.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from icd_assets.runtime.foreign import printable
from icd_assets.runtime.torch_files.stubs import Function, Husk, Mapping, todays_name
from icd_assets.runtime.torch_files.walk import require_bounded, uncollected, walk

Storage = Callable[[str, torch.dtype, int], Tensor]


_SHARED = 100_000  # values that may be met again in another place: settings, not a tree of them
_SMALL_VIEW = 1 << 20  # bytes
_MOST_DIMENSIONS = 64


class Refused(pickle.UnpicklingError):
    """The pickle names something that is neither a tensor's nor has a stand-in."""


def unpickle(
    content: bytes, storage: Storage, stand_in: Callable[[str], Any], *, most: int, only_tensors: bool = False
) -> Any:
    """The object in ``content``. Raises :class:`Refused` for a name, any exception for a damaged pickle.

    storage: the numbers [n] under a key of the file, given their type and n. stand_in: what to put for a name that
    is no tensor's, or None to refuse it. most: bytes of memory that what is not numbers may take, roughly.
    only_tensors: refuse also what is merely passed over.
    """
    steps = walk(content, most)
    with uncollected():
        found = _Unpickler(content, storage, stand_in, only_tensors).load()
        require_bounded(found, steps + _SHARED)
    return found


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, content: bytes, storage: Storage, stand_in: Callable[[str], Any], only_tensors: bool
    ) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._storage, self._stand_in, self._only_tensors = storage, stand_in, only_tensors

    def find_class(self, module: str, name: str) -> Any:
        full = todays_name(module, name)
        found = _TENSORS.get(full)
        if found is None and (found := self._stand_in(full)) is None:
            raise Refused(printable(full[:80]))
        if self._only_tensors and found is Husk:
            raise Refused(printable(full[:80]))
        return found

    def persistent_load(self, reference: Any) -> Tensor:
        kind, dtype, key, _, count, *view = reference
        if view not in ([], [None]):  # before torch 1.6 one more
            raise pickle.UnpicklingError("a reference to a part of numbers")
        if kind != "storage" or type(key) is not str or type(count) is not int or count < 0:
            raise pickle.UnpicklingError("a reference to something else than numbers")
        return self._storage(key, _dtype(dtype), count)


class _Named:
    """The numbers' type, as a storage's class or on its own; like a class, it has no state to set."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __setstate__(self, state: object) -> None:
        raise ValueError("a type has no state to set")


def _dtype(named: Any) -> torch.dtype:
    if not isinstance(named, _Named):
        raise ValueError("numbers of an unknown type")
    return named.dtype


def _tensor(flat: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Never more numbers than ``flat`` has: ``as_strided`` raises if the last one lies outside, and a view that
    repeats numbers would have to be allocated when it is used."""
    if type(flat) is not Tensor:
        raise ValueError("a tensor without numbers")
    size, stride = tuple(size), tuple(stride)
    if len(size) > _MOST_DIMENSIONS or any(type(number) is not int for number in (offset, *size, *stride)):
        raise ValueError("a tensor whose shape is no numbers")
    claimed = math.prod(size)
    if claimed > flat.numel() and claimed * flat.element_size() > _SMALL_VIEW:
        raise ValueError("a tensor claims more numbers than the file holds")
    return torch.as_strided(flat, size, stride, offset)


def _typed_tensor(
    flat: Any, offset: Any, size: Any, stride: Any, needs_grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    """Of a storage without a type, of which the offset counts numbers, not bytes."""
    if type(flat) is not Tensor:
        raise ValueError("a tensor without numbers")
    return _tensor(flat.view(_dtype(dtype)), offset, size, stride)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _subclass(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """A tensor with attributes or of another class: its numbers."""
    if not isinstance(function, Function):
        raise ValueError("a tensor that another function rebuilds")
    return function(*args)


_DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
_STORAGES = {
    "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16, "Double": torch.float64,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
_TENSORS: dict[str, Any] = {
    "collections.OrderedDict": Mapping,
    "torch.Size": Function(lambda sizes=(): tuple(sizes)),
    "torch.device": Husk,
    **{f"torch.{name}": Husk for name in ("Tensor", "nn.parameter.Parameter", "nn.parameter.Buffer")},
    "torch.serialization._get_layout": Husk,
    "torch._utils._rebuild_tensor": Function(_tensor),
    "torch._utils._rebuild_tensor_v2": Function(_tensor),
    "torch._utils._rebuild_tensor_v3": Function(_typed_tensor),
    "torch._utils._rebuild_parameter": Function(_parameter),
    "torch._utils._rebuild_parameter_with_state": Function(_parameter),
    "torch._tensor._rebuild_from_type_v2": Function(_subclass),
    "torch._utils._rebuild_sparse_tensor": Husk,  # read, so that it can be said what is wrong with it
    "torch._utils._rebuild_qtensor": Husk,
    "torch._utils._rebuild_meta_tensor_no_storage": Husk,
    "torch.storage.UntypedStorage": _Named(torch.uint8),
    **{name: _Named(dtype) for name, dtype in _DTYPES.items()},
    **{f"torch.{name}Storage": _Named(dtype) for name, dtype in _STORAGES.items()},
}
