"""What stands for the names in a pickle: a pickle names the callables that rebuild its objects, and here each name
is met by something of ours that executes nothing of the file's choosing.

Settings that a trainer left (OmegaConf's, Lightning's, paths, dates) become husks: they take what they are given
and forget it. A name that has no stand-in here is refused by the caller.
"""

from __future__ import annotations

import builtins
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Any

import numpy as np

from icd_assets.runtime.foreign import brief

# Whose objects trainers save beside their tensors: plain data, neither imported nor run here.
_SETTINGS = (
    "omegaconf.", "hydra.", "lightning.", "lightning_fabric.", "lightning_utilities.", "pytorch_lightning.",
    "torchmetrics.", "transformers.", "lever_lm.", "numpy.", "pathlib.", "datetime.", "decimal.", "fractions.",
    "uuid.", "enum.", "dataclasses.", "collections.", "typing.", "torch.nn.", "torch.optim.", "itertools.",
    "tokenizers.", "zoneinfo.", "__main__.",
)  # fmt: skip
_SINGLE = frozenset({
    "argparse.Namespace", "types.SimpleNamespace", "functools.partial", "functools.reduce", "operator.attrgetter",
    "operator.itemgetter", "copyreg._reconstructor", "re._compile", "random.Random", "sys.intern",
    "torch._C.Generator", "torch.storage._load_from_bytes",
    # Types as written, which OmegaConf's nodes remember: List[int], list[int], int | None.
    "_operator.getitem", "operator.getitem", "_operator.or_", "operator.or_", "_functools.reduce",
    "types.GenericAlias", "types.UnionType",
    *(f"builtins.{name}" for name in ("abs", "all", "any", "chr", "len", "max", "min", "round", "sorted", "sum")),
    *(f"builtins.{name}" for name in ("Ellipsis", "NotImplemented")),
})  # fmt: skip
_BITS_OF_A_HASH = 61
_WIDTHS = {"f2": 2, "f4": 4, "f8": 8}


class Husk:
    """Stands for an object whose class we neither need nor load; takes anything and forgets it."""

    def __new__(cls, *args: object, **keywords: object) -> Husk:
        return super().__new__(cls)

    def __init__(self, *args: object, **keywords: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, value: object) -> None: ...

    def extend(self, values: object) -> None: ...

    def add(self, value: object) -> None: ...


class Mapping(dict[Any, Any]):
    """Stands for a mapping: keeps its items, forgets the rest (a default factory, attributes of the object)."""

    def __init__(self, *args: object) -> None:
        # An OrderedDict that Python 2 wrote gives its pairs as an argument, a Counter its counts.
        for given in args:
            if isinstance(given, list):
                for key, value in given:
                    # Other keys than the pickle's own instructions set, which were looked at before.
                    if not (type(key) is str or (type(key) is int and key.bit_length() < _BITS_OF_A_HASH)):
                        raise ValueError("a mapping with keys that are neither names nor numbers")
                    self[key] = value
            elif isinstance(given, dict):
                self.update(given)

    def __setstate__(self, state: object) -> None: ...


class Function:
    """A function of ours as a pickle may call it; unlike a function's, its attributes cannot be set."""

    __slots__ = ("_function",)

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: object) -> None:
        raise ValueError("a function has no state to set")


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
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
            raise ValueError("an array of something else than floating-point numbers by rows") from None


def _text_bytes(text: str = "", encoding: str = "latin1") -> bytes:
    """Bytes as protocol 2 writes them. No other codec: some of them let each call double what it was given."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes that are encoded as {brief(encoding)}")
    return text.encode("latin1")


_BYTES = {"_codecs.encode": Function(_text_bytes)}
_ARRAYS: dict[str, Any] = {
    "numpy.ndarray": ArrayRecord,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": Function(lambda *_: ArrayRecord()),  # NumPy 1
    "numpy._core.multiarray._reconstruct": Function(lambda *_: ArrayRecord()),
    **_BYTES,
}


def todays_name(module: str, name: str) -> str:
    """``module.name`` of Python 3 for a name as protocol 2 writes it: ``__builtin__ long`` is ``builtins.int``."""
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    elif module in IMPORT_MAPPING:
        module = IMPORT_MAPPING[module]
    return f"{module}.{name}"


def array_stand_in(name: str) -> Any:
    """What stands for a name that a pickled NumPy array mentions; None for one that it does not."""
    return _ARRAYS.get(name)


def settings_stand_in(name: str) -> Any:
    """What stands for a name that a trainer's settings mention; None for one that they do not."""
    if name in _BYTES:
        return _BYTES[name]
    if name.endswith(("collections.defaultdict", "collections.Counter", "AttributeDict")):
        return Mapping
    if name.startswith(_SETTINGS) or name in _SINGLE or _is_plain_type(name):
        return Husk
    return None


def _is_plain_type(name: str) -> bool:
    """A built-in type or exception, none of which does anything: ``builtins.int``, not ``builtins.eval``."""
    module, _, own = name.partition(".")
    return module == "builtins" and own != "bytearray" and isinstance(getattr(builtins, own, None), type)
