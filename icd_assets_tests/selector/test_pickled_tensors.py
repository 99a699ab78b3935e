"""Pickles inside checkpoints: what trainers really leave is read, what could do harm is refused."""

from __future__ import annotations

import _compat_pickle
import argparse
import builtins
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import io
import os
import pathlib
import pickle
import pickletools
import sys
import types
import typing
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.torch_files.stubs import settings_stand_in, todays_name
from icd_assets.selector.torch_file import read_array_file, read_torch_file

WEIGHTS = torch.arange(6.0).reshape(2, 3)


SETTINGS = [
    OmegaConf.create({"flags": ["image", "text"], "nested": {"lr": 1e-4, "path": "${flags}", "missing": "???"}}),
    OmegaConf.create([1, [2.5, None], True, b"\xff", pathlib.Path("a/b")]),
    pathlib.PurePosixPath("a/b"),
    np.float32(1.5),
    np.int64(3),
    np.bool_(True),
    np.arange(3),
    np.dtype("float32"),
    functools.partial(max, 1, key=len),
    collections.Counter("aab"),
    collections.defaultdict(dict, a={}),
    collections.deque([1, 2], 5),
    collections.ChainMap({"a": 1}),
    collections.UserDict(a=1),
    {1, 2},
    frozenset({1}),
    b"\x00\xff",
    range(3),
    slice(1, 2),
    1j,
    1 << 5000,
    datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    datetime.timedelta(1),
    decimal.Decimal("1.5"),
    types.SimpleNamespace(a=1),
    argparse.Namespace(a=1),
    torch.Size([2, 3]),
    torch.bfloat16,
    torch.strided,
    torch.device("cpu"),
    torch.nn.ReLU(),
    ValueError("a"),
    OSError("b"),
    KeyboardInterrupt,
    type(None),
    Ellipsis,
    map,
    zip,
    np.random.default_rng(1),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("protocol", [2, 4])
def test_settings_beside_tensors_are_passed_over(tmp_path: Path, settings: Any, protocol: int) -> None:
    content = {"state_dict": {"a": WEIGHTS}, "hyper_parameters": {"cfg": settings, "again": settings}, "epoch": 3}
    torch.save(content, tmp_path / "a.ckpt", pickle_protocol=protocol)
    found = read_torch_file(tmp_path / "a.ckpt", lightning=True)
    assert torch.equal(found["state_dict"]["a"], WEIGHTS)
    assert found["epoch"] == 3


def test_an_enumeration_and_a_named_tuple_of_the_trainers_own(tmp_path: Path) -> None:
    kind = enum.Enum("Kind", {"FIRST": 1}, module="lever_lm.kinds")
    pair = collections.namedtuple("Pair", "a b", module="lever_lm.kinds")
    module = types.ModuleType("lever_lm.kinds")
    module.Kind, module.Pair = kind, pair  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "lever_lm", types.ModuleType("lever_lm"))
        patch.setitem(sys.modules, "lever_lm.kinds", module)
        torch.save({"state_dict": {"a": WEIGHTS}, "x": [kind(1), pair(1, 2)]}, tmp_path / "a.ckpt")
    assert torch.equal(read_torch_file(tmp_path / "a.ckpt", lightning=True)["state_dict"]["a"], WEIGHTS)


def test_types_that_a_structured_config_remembers(tmp_path: Path) -> None:
    fields: list[tuple[str, Any, Any]] = [
        ("devices", list[int], [0, 1]),
        ("names", typing.List[str], ["a"]),  # noqa: UP006
        ("rates", dict[str, float], {"lr": 1e-4}),
        ("depth", int | None, None),
        ("seed", typing.Optional[int], 3),  # noqa: UP045
        ("width", typing.Union[int, str], "x"),  # noqa: UP007
        ("betas", tuple[float, float], (0.9, 0.99)),
        ("nested", dict[str, list[int]], {"a": [1]}),
    ]
    for protocol in (2, 4, 5):
        for module in ("lever_lm.conf", "__main__"):  # of a script, as hydra's examples have it
            own = [(n, kind, dataclasses.field(default_factory=lambda v=v: v)) for n, kind, v in fields]
            made = dataclasses.make_dataclass("Conf", own)  # type: ignore[arg-type]
            made.__module__ = module
            place = types.ModuleType(module)
            place.Conf = made  # type: ignore[attr-defined]
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(sys.modules, "lever_lm", types.ModuleType("lever_lm"))
                patch.setitem(sys.modules, module, place)
                content = {"state_dict": {"a": WEIGHTS}, "hyper_parameters": {"cfg": OmegaConf.structured(made)}}
                torch.save(content, tmp_path / "a.ckpt", pickle_protocol=protocol)
            found = read_torch_file(tmp_path / "a.ckpt", lightning=True)
            assert torch.equal(found["state_dict"]["a"], WEIGHTS)


def test_python_2s_names_are_todays() -> None:
    for (module, name), (theirs, own) in _compat_pickle.NAME_MAPPING.items():
        assert todays_name(module, name) == f"{theirs}.{own}"
    assert todays_name("__builtin__", "long") == "builtins.int"
    assert todays_name("copy_reg", "_reconstructor") == "copyreg._reconstructor"
    names = (
        "long int unicode str basestring xrange set frozenset dict list tuple bool float complex object type "
        "slice unichr reduce intern"
    )
    assert [n for n in names.split() if settings_stand_in(todays_name("__builtin__", n)) is None] == []
    exceptions = [*_compat_pickle.PYTHON2_EXCEPTIONS, "StandardError"]
    assert [n for n in exceptions if settings_stand_in(todays_name("exceptions", n)) is None] == []
    others = [("itertools", "izip"), ("itertools", "imap"), ("itertools", "ifilterfalse")]
    others += [(name, name) for name in ("UserDict", "UserList", "UserString")]
    assert [pair for pair in others if settings_stand_in(todays_name(*pair)) is None] == []


def test_tensors_of_every_kind_are_the_files_own(tmp_path: Path) -> None:
    shared = torch.arange(12.0)
    names = "float16 bfloat16 float64 int64 int32 int16 int8 uint8 uint16 complex64 bool float8_e4m3fn"
    content = {
        **{name: torch.ones(3).to(getattr(torch, name)) for name in names.split()},
        "view": shared[2:8].reshape(2, 3),
        "other": shared[6:],
        "turned": shared.reshape(3, 4).t(),
        "none": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "buffer": torch.nn.Buffer(torch.ones(2)),
    }
    for protocol in (2, 3, 4, 5):
        torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
        for found in (read_torch_file(tmp_path / "a.pt"), read_array_file(tmp_path / "a.pt")):
            for name, tensor in content.items():
                assert found[name].dtype == tensor.dtype, name
                assert found[name].tolist() == tensor.tolist(), name
            assert found["view"].untyped_storage().data_ptr() == found["other"].untyped_storage().data_ptr()


def test_a_state_dict_with_metadata(tmp_path: Path) -> None:
    state = torch.nn.Linear(2, 2).state_dict()  # an OrderedDict with an attribute
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    assert [*read_torch_file(tmp_path / "a.ckpt")["state_dict"]] == ["weight", "bias"]


class Calls:
    """Pickles as a call of a function by its name."""

    def __init__(self, function: Any, *args: Any) -> None:
        self._call = (function, args)

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize(
    "hostile",
    [
        Calls(os.system, "true"),
        Calls(eval, "1"),
        Calls(exec, "1"),
        Calls(getattr, 1, "real"),
        Calls(setattr, Exception("a"), "b", 1),
        Calls(open, "/dev/null"),
        Calls(__import__, "os"),
        Calls(print, "ran"),
        Calls(torch.load, "/dev/null"),
        Calls(torch.hub.load, "a", "b"),
        Calls(pickle.loads, b"N."),
        Calls(bytearray, 1 << 40),
        Calls(torch.zeros, 1 << 40),
    ],
    ids=lambda hostile: hostile._call[0].__name__,
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_calls_are_refused_by_name(tmp_path: Path, hostile: Calls, protocol: int) -> None:
    torch.save({"state_dict": {"a": WEIGHTS}, "x": hostile}, tmp_path / "a.ckpt", pickle_protocol=protocol)
    for lightning in (True, False):
        with pytest.raises(
            UserError, match=r"a\.ckpt: refused, it holds more than tensors and numbers \([\w.]+\)\.$"
        ):
            read_torch_file(tmp_path / "a.ckpt", lightning=lightning)


def with_pickle(path: Path, pickled: bytes) -> Path:
    """A checkpoint of ``WEIGHTS`` whose pickle is another one."""
    buffer = io.BytesIO()
    torch.save({"a": WEIGHTS}, buffer)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(path, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, pickled if name.endswith("data.pkl") else archive.read(name))
    return path


def storage(count: int = 6) -> bytes:
    """The reference to the numbers of ``WEIGHTS``, and the function that takes it, not yet called."""
    key = (
        b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
        + b"J"
        + count.to_bytes(4, "little")
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n((" + key + b"tQ"


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (b"\x80\x02}r\xff\xff\xff\x7f.", "memo index"),
        (b"\x80\x04}\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", "damaged"),
        (b"\x80\x02" + storage() + b"K\x00J\x00\x00\x00\x7f\x85K\x01\x85\x89}tR.", "damaged"),  # too many
        (b"\x80\x02" + storage() + b"J\xff\xff\xff\xffK\x02\x85K\x01\x85\x89}tR.", "damaged"),  # before the first
        (b"\x80\x02" + storage(1 << 30) + b"K\x00K\x02\x85K\x01\x85\x89}tR.", "damaged"),  # the entry has fewer
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x04\0\0\0evilK\x01sb.", "damaged"),  # set on the function
        (b"\x80\x02comegaconf\nX\n}X\x04\0\0\0evilK\x01sb.", "damaged"),  # set on the stand-in's class
        (b"\x80\x02c_codecs\nencode\nX\x02\0\0\0abX\x03\0\0\0hex\x86R.", "encoded as 'hex'"),
        (b"\x80\x02}" + b"(" * 10 + b".", "damaged"),
        (b"\x80\x02(lp0\n0", "damaged"),
        (b"", "damaged"),
        (b"\x80\x02\x82\x01.", "damaged"),  # an extension's number
    ],
)  # fmt: skip
def test_hostile_pickles_are_one_sentence(tmp_path: Path, pickled: bytes, says: str) -> None:
    path = with_pickle(tmp_path / "a.ckpt", pickled)
    with pytest.raises(UserError, match=says) as caught:
        read_torch_file(path, lightning=True)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_pickles_above_are_well_formed(tmp_path: Path) -> None:
    """So that each is refused for what it does: the same call with sizes that fit gives a tensor."""
    pickled = b"\x80\x02X\x01\0\0\0a" + storage() + b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tR"
    assert [op.name for op, *_ in pickletools.genops(pickled + b".")][-1] == "STOP"
    path = with_pickle(tmp_path / "a.ckpt", b"\x80\x02}" + pickled[2:] + b"s.")
    assert torch.equal(read_torch_file(path)["a"], WEIGHTS)


def test_what_was_read_left_nothing_behind(tmp_path: Path) -> None:
    before = {name: value for name, value in vars(builtins).items() if name != "_"}
    torch.save({"state_dict": {"a": WEIGHTS}, "x": SETTINGS[0]}, tmp_path / "a.ckpt")
    read_torch_file(tmp_path / "a.ckpt", lightning=True)
    assert {name: value for name, value in vars(builtins).items() if name != "_"} == before
    assert not hasattr(torch._utils._rebuild_tensor_v2, "evil")


def test_a_torchscript_archive_is_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02c__torch__\nModel\n.")
        archive.writestr("a/constants.pkl", b"\x80\x02).")
    with pytest.raises(UserError, match="refused"):
        read_torch_file(tmp_path / "a.ckpt")


def test_other_byte_orders_and_missing_numbers(tmp_path: Path) -> None:
    torch.save({"a": WEIGHTS}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for name, content in {"byteorder": b"big", "data/0": b"short"}.items():
        with zipfile.ZipFile(tmp_path / "b.pt", "w") as changed:
            for entry, old in entries.items():
                changed.writestr(entry, content if entry.endswith(name) else old)
        with pytest.raises(UserError, match=r"b\.pt: damaged"):
            read_torch_file(tmp_path / "b.pt")


def test_numbers_that_do_not_lie_where_torch_puts_them_are_read_all_the_same(tmp_path: Path) -> None:
    torch.save({"a": WEIGHTS}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive, zipfile.ZipFile(tmp_path / "b.pt", "w") as moved:
        for name in archive.namelist():
            moved.writestr("x" + name, archive.read(name))
    found = read_array_file(tmp_path / "b.pt")["a"]
    assert isinstance(found, Tensor)
    assert torch.equal(found, WEIGHTS)
