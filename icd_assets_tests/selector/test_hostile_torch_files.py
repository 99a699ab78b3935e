"""Files that two readers of zips would read differently, or whose pickle asks for more than the file warrants:
one sentence each, at once, in little memory."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.runtime.torch_files.container import entries
from icd_assets.runtime.torch_files.state import require_tensors
from icd_assets.runtime.torch_files.walk import Excessive, require_bounded, walk
from icd_assets.selector.embedding_file import read_embeddings
from icd_assets.selector.torch_file import read_array_file, read_torch_file
from icd_assets.selector.v3_file import read_v3

WEIGHTS = torch.arange(6.0).reshape(2, 3)
BOMB = b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."
READERS: dict[str, Callable[[Path], Any]] = {
    "plain": read_torch_file,
    "lightning": lambda path: read_torch_file(path, lightning=True),
    "array": read_array_file,
    "weights": require_tensors,
}


def sound() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": WEIGHTS}, buffer)
    return buffer.getvalue()


def parts() -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(sound())) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def zipped(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of names that are there twice
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files:
                archive.writestr(name, content)
    return buffer.getvalue()


def changed(mark: bytes, offset: int, value: int, *, last: bool = False) -> bytes:
    """The sound file with one byte after a mark of the format changed."""
    content = bytearray(sound())
    content[(content.rfind(mark) if last else content.find(mark)) + offset] = value
    return bytes(content)


def pickled(content: bytes) -> bytes:
    return zipped(*((name, content if name.endswith("data.pkl") else old) for name, old in parts()))


CONTAINERS: dict[str, Callable[[], bytes]] = {
    "odd case, first": lambda: zipped(("archive/data.PKL", BOMB), *parts()),
    "odd case, last": lambda: zipped(*parts(), ("archive/data.PKL", BOMB)),
    "twice, bomb first": lambda: zipped(("archive/data.pkl", BOMB), *parts()),
    "twice, bomb last": lambda: zipped(*parts(), ("archive/data.pkl", BOMB)),
    "two folders": lambda: zipped(*parts(), ("other/data.pkl", BOMB)),
    "two folders, the first empty": lambda: zipped(("other/version", b"3"), *parts()),
    "no folder": lambda: zipped(*((name.partition("/")[2], content) for name, content in parts())),
    "deeper": lambda: zipped(*(("x/" + name, content) for name, content in parts())),
    "unknown entry": lambda: zipped(*parts(), ("archive/code/a.py", b"")),
    "folder entry": lambda: zipped(*parts(), ("archive/data/", b"")),
    "numbers of no number": lambda: zipped(*parts(), ("archive/data/0x", b"")),
    "digits of another script": lambda: zipped(*parts(), ("archive/data/\u0661", b"")),
    "up": lambda: zipped(*parts(), ("archive/../data.pkl", BOMB)),
    "no pickle": lambda: zipped(("archive/version", b"3")),
    "two archives": lambda: sound() + sound(),
    "before": lambda: b"x" + sound(),
    "after": lambda: sound() + b"x",
    "comment": lambda: sound()[:-2] + b"\4\0abcd",
    "another name of its own": lambda: changed(b"data.pkl", 7, ord("L")),
    "another flag of its own": lambda: changed(b"PK\3\4", 6, 1),
    "another method of its own": lambda: changed(b"PK\3\4", 8, 8),
    "another size of its own": lambda: changed(b"PK\3\4", 22, 7),
    "another size after it": lambda: changed(b"PK\7\10", 8, 255),
    "encrypted": lambda: changed(b"PK\1\2", 8, 9),
    "two sizes": lambda: changed(b"PK\1\2", 20, 1),
    "overlapping": lambda: changed(b"PK\1\2", 42, 1, last=True),
    "many disks": lambda: changed(b"PK\5\6", 4, 1),
    "many disks, large": lambda: changed(b"PK\6\7", 16, 2),
    "two counts": lambda: changed(b"PK\6\6", 32, 99),
    "two directories": lambda: changed(b"PK\5\6", 16, 99),
    "directory of its own": lambda: changed(b"PK\6\7", 8, 99),
    "cut": lambda: sound()[:-1],
    "empty": lambda: b"",
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("how", CONTAINERS)
def test_a_container_that_is_not_torchs_to_the_last_byte_is_refused(tmp_path: Path, how: str, reader: str) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(CONTAINERS[how]())
    with pytest.raises(UserError, match=r"a\.ckpt: (refused, its entry|refused, it has no entry|truncated, or)"):
        READERS[reader](path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_writes_passes(tmp_path: Path, protocol: int) -> None:
    for content in ({"a": WEIGHTS, "b": torch.zeros(0), "c": WEIGHTS.half()}, WEIGHTS, {}):
        for name in ("a.pt", "b c.pt", "d\\e.pt", "\u00fc.pt"):
            path = tmp_path / name
            torch.save(content, path, pickle_protocol=protocol)
            assert "data.pkl" in entries(path.read_bytes())
            read_array_file(path)
        require_tensors(tmp_path / "a.pt") if content is not WEIGHTS else None


def test_entries_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with torch.serialization.skip_data():  # a hole in the file
        torch.save({"a": torch.empty(5 << 30, dtype=torch.uint8), "b": torch.empty(3)}, path)
    assert read_torch_file(path, lightning=True)["a"].shape == (5 << 30,)
    with pytest.raises(UserError, match="more numbers than such a file has"):
        read_torch_file(path)


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


STORAGE = b"((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\6tQK\0"


def view(size: bytes, stride: bytes) -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + STORAGE + size + stride + b"\x89}tR"


def doubled(join: Callable[[int], bytes], first: bytes) -> bytes:
    """Sixty values, each twice the one before; the last is kept as number 60."""
    return first + b"q\0" + b"0" + b"".join(join(i) + b"q" + bytes([i + 1]) + b"0" for i in range(60))


def twice(i: int) -> bytes:
    return b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86"


LONG_TEXT = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
PICKLES: dict[str, bytes] = {
    "deep key": b"}K\1" + b"\x85" * 400_000 + b"K\1s.",
    "deep value": b"}K\1K\1" + b"\x85" * 400_000 + b"s.",
    "deep lists": b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep member": b"\x8f(K\1" + b"\x85" * 1000 + b"\x90.",
    "shared key": doubled(twice, b"K\1\x85") + b"}h\x3cK\1s.",
    "shared value": doubled(twice, b"]") + b"}K\1h\x3cs.",
    "shared in a mapping": doubled(twice, b"K\1\x85") + b"ccollections\nOrderedDict\n]]h\x3caK\1aa\x85R.",
    "within itself": b"}K\1]q\0h\0as.",
    "quadratic codec": b"c_codecs\nencode\nX\2\0\0\0abX\x08\0\0\0punycode\x86R.",
    "encoded often": b"(c_codecs\nencode\nq\0" + LONG_TEXT + b"X\6\0\0\0latin1\x86q\1R" + b"h\0h\1R" * 9999,
    "long bytes": b"\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "long bytearray": b"\x96" + struct.pack("<Q", 1 << 40) + b".",
    "long text": b"\x8d" + struct.pack("<Q", 1 << 63) + b".",
    "long frame": b"\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "long number": b"\x8b\xff\xff\xff\x7f.",
    "negative number": b"\x8b\xff\xff\xff\xff.",
    "numbers with one hash": b"}("
    + b"".join(b"\x8a\x0a" + (k * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for k in range(1, 50_000))
    + b"u.",
    "high memo": b"}r\xff\xff\xff\x7f.",
    "mapping of a mapping": b"ccollections\nOrderedDict\nq\0}q\1("
    + b"".join(number(i) + b"N" for i in range(50_000))
    + b"u0(" + b"h\0h\1\x85R" * 50_000 + b"t.",
    "size of a size": b"ctorch\nSize\nq\0(" + b"K\1" * 50_000 + b"tq\1(" + b"h\0h\1\x85R" * 50_000 + b"t.",
    "view that repeats": b"}X\1\0\0\0a" + view(number((1 << 31) - 1) + b"K\2\x86", b"K\0K\0\x86") + b"s.",
    "view of views": b"}X\1\0\0\0a" + view(b"(" + b"K\1" * 100 + b"t", b"(" + b"K\0" * 100 + b"t") + b"s.",
    "state of a tensor": view(b"K\2\x85", b"K\1\x85") + b"(h\5K\0J\xff\xff\xff\x7f\x85K\1\x85tb.",
    "state of numbers": STORAGE[1:-2] + b"(K\1K\1K\1K\1tb.",
    "sum of tensors": view(b"K\2\x85", b"K\1\x85") + b"(" + view(b"K\2\x85", b"K\1\x85") + b"\x90.",
    "after its end": b"}.}",
    "no end": b"}",
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("how", PICKLES)
def test_a_pickle_that_asks_for_too_much_is_refused(tmp_path: Path, how: str, reader: str) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(pickled(b"\x80\x04" + PICKLES[how]))
    with pytest.raises(UserError, match=r"a\.ckpt: (damaged or not a checkpoint|refused, it holds more)") as error:
        READERS[reader](path)
    assert len(str(error.value)) < 400 + len(str(path))


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop", "absent"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, reader: str, kind: str) -> None:
    path = tmp_path / "a.ckpt"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "absent":
        path.symlink_to("/dev/zero" if kind == "device" else path)
    with pytest.raises(UserError, match=r"a pipe|a folder|a device|symbolic links|no such file"):
        READERS[reader](path)


def test_rows_that_are_one_row_many_times_are_not_stacked(tmp_path: Path) -> None:
    row, path = torch.ones(100_000), tmp_path / "query_embeddings.pt"
    torch.save(dict.fromkeys(range(20_000), row), path)  # eight gigabytes in one file of 0.4 MB
    with pytest.raises(UserError, match="fewer numbers than it claims"):
        read_embeddings(path, rows=20_000)


@pytest.mark.parametrize("field", ["epoch", "kl_beta", "metrics", "phase"])
def test_numbers_beyond_any_and_values_without_end(tmp_path: Path, field: str) -> None:
    path = tmp_path / "a.pt"
    names = {
        "cross_attn_layers.0.in_proj_weight": (12, 4), "cross_attn_layers.0.in_proj_bias": (12,),
        "cross_attn_layers.0.out_proj.weight": (4, 4), "cross_attn_layers.0.out_proj.bias": (4,),
        "attn_norms.0.weight": (4,), "attn_norms.0.bias": (4,), "query_proj.weight": (4, 4),
        "cand_proj.weight": (4, 4), "query_update_gate.weight": (4, 8), "query_update_gate.bias": (4,),
    }  # fmt: skip
    state = {name: torch.ones(shape) for name, shape in names.items()}
    content: dict[str, Any] = {
        "epoch": 0,
        "phase": "rce",
        "model_state_dict": state,
        "kl_beta": 0.0,
        "metrics": {},
    }
    torch.save(content, path)
    read_v3(path)
    hostile = {"metrics": {"loss": 10**400}, "phase": ["x" * 10_000] * 50}
    torch.save(content | {field: hostile.get(field, 10**5000)}, path)
    with pytest.raises(UserError, match=field.removesuffix("s")) as error:
        read_v3(path)
    assert len(str(error.value)) < 300 + len(str(path))


@pytest.mark.parametrize("one", [b"]", b"}", b"\x8f", b"h\0)R", b"h\0)\x81", b"C\2ab", b"\x85"])
def test_the_memory_and_the_time_of_many_values_are_bounded(one: bytes) -> None:
    few, many = (b"\x80\x04ctyping\nX\nq\0(" + one * count + b"t." for count in (100, 50_000))
    walk(few, 1 << 20)
    with pytest.raises(Excessive):
        walk(many, 1 << 20)


def test_a_value_is_bounded_by_all_that_reading_it_meets() -> None:
    require_bounded({"a": [1, (2, {3})]}, 100)
    shared: Any = []
    for _ in range(60):
        shared = [shared, shared]
    with pytest.raises(Excessive):
        require_bounded(shared, 100_000)
    shared.append(shared)
    with pytest.raises(Excessive):
        require_bounded({"a": shared}, 100_000)


def test_flipped_numbers_of_a_trainers_checkpoint_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"a": WEIGHTS}}, path)
    content = bytearray(path.read_bytes())
    content[content.find(WEIGHTS.numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="checksum differs"):
        read_torch_file(path, lightning=True)
