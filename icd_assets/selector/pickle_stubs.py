"""Objects that a file of ``torch.save`` may mention besides tensors, each read as something that executes nothing.

A pickle names the callables that rebuild it. Here every name that may be met has a stand-in of ours; torch's own
safe reader calls nothing else, and what it would call of its own accord is narrowed to what tensors need: its
list has ``bytearray`` on it, with which a kilobyte allocates gigabytes.
"""

from __future__ import annotations

import codecs
from typing import Any

import numpy as np

# Settings objects that Lightning puts into its checkpoints: neither imported nor run.
_HUSKS = ("omegaconf.", "lightning.", "lightning_fabric.", "pytorch_lightning.", "typing.", "pathlib.", "numpy.")
_PLAIN = ("builtins.dict", "builtins.list", "builtins.int", "builtins.float", "builtins.str", "builtins.bool")
_DICTS = ("collections.defaultdict", "AttributeDict")
_TENSORS = {
    "collections.OrderedDict",
    "torch.Size",
    "torch.device",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_sparse_tensor",  # read, so that it can be said what is wrong with it
    "torch.serialization._get_layout",
    *(f"torch.{kind}" for kind in ("float32", "float16", "bfloat16", "float64", "int64", "int32", "bool")),
    *(f"torch.{kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Byte", "Bool")),
}
_WIDTHS = {"f2": 2, "f4": 4, "f8": 8}


class _Husk:
    """Stands for an object whose class we neither need nor load; takes its state and forgets it."""

    def __new__(cls, *args: object) -> _Husk:
        return super().__new__(cls)

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _Emptied(dict[Any, Any]):
    """Never instantiated: constructs a plain dict, the only mapping that the safe reader fills."""

    def __new__(cls, *args: object) -> dict[Any, Any]:  # type: ignore[misc]
        return {}


class _Dtype:
    """The name of a NumPy type."""

    def __init__(self, name: object = None, *args: object) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", "|", "="):
            self.name = None


class ArrayRecord:
    """What a pickled NumPy array says of itself."""

    def __init__(self, *args: object) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def array(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The array of floating-point numbers, over the bytes that were read; ValueError for another one."""
        try:
            _, shape, dtype, by_columns, content = self._state
            width = _WIDTHS[dtype.name]
            if by_columns or not all(type(size) is int and size >= 0 for size in shape):
                raise ValueError
            flat = np.frombuffer(content, dtype=f"<f{width}")
            return flat.reshape(shape)
        except (TypeError, KeyError, AttributeError, ValueError):
            raise ValueError("an array of something else than floating-point numbers by rows") from None


def _new_array(*args: object) -> ArrayRecord:
    return ArrayRecord()


ARRAYS: dict[str, Any] = {
    "numpy.ndarray": ArrayRecord,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": _new_array,  # NumPy 1
    "numpy._core.multiarray._reconstruct": _new_array,
    "_codecs.encode": codecs.encode,  # of the text that bytes are written as
}


def settings_stand_in(name: str) -> Any:
    """What stands for a class that Lightning's settings mention; None for one that they do not."""
    if name.endswith(_DICTS):
        return _Emptied
    return _Husk if name.startswith(_HUSKS) or name in _PLAIN else None


def is_tensors(name: str) -> bool:
    """Whether a tensor, its type or a plain dict of them is rebuilt by this name."""
    return name in _TENSORS
