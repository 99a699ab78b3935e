"""A model's folder that anyone made: nothing in it waits, fills the memory, runs, or is loaded unchecked."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from icd_assets.errors import UserError
from icd_assets.vlm.control_tokens import control_tokens
from icd_assets.vlm.processor import load_processor, read_config
from icd_assets.vlm.prompt_tokens import picture_tokens
from icd_assets.vlm.weight_headers import count_numbers, require_whole

TENSORS = {"a": torch.ones(64, 4)}
TINY = Path(__file__).parents[2] / "icd_assets/demo/weights/tiny_vl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    (tmp_path / "tokenizer.json").write_text("{}")
    save_file(TENSORS, tmp_path / "model.safetensors")
    require_whole(tmp_path)
    return tmp_path


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link(path: Path, to: Path | str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def header(path: Path, content: bytes, length: int | None = None) -> None:
    path.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content)


def sparse(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)


def pickled(path: Path, content: object, *, legacy: bool = False) -> None:
    path.with_name("model.safetensors").unlink(missing_ok=True)
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def twice(path: Path) -> None:
    pickled(path, TENSORS)
    path.write_bytes(path.read_bytes() * 2)


def also_a_tar(path: Path) -> None:
    """The first block is the header of a tar archive too, which torch tries first."""
    pickled(path, TENSORS, legacy=True)
    block = bytearray(path.read_bytes()[:512].ljust(512, b"\0"))
    block[100:500] = bytes(400)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path.write_bytes(block + path.read_bytes()[512:])


class Call:
    def __reduce__(self) -> tuple[object, tuple[int]]:
        return bytearray, (3 << 30,)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe of weights": (lambda f: pipe(f / "model.safetensors"), "model.safetensors is a pipe"),
    "pipe of configuration": (lambda f: pipe(f / "config.json"), "config.json is a pipe"),
    "pipe of a template": (lambda f: pipe(f / "chat_template.jinja"), "chat_template.jinja is a pipe"),
    "device": (lambda f: link(f / "tokenizer.json", "/dev/zero"), "json is a pipe, a socket or a device"),
    "loop": (lambda f: link(f / "vocab.json", f / "vocab.json"), r"vocab\.json (cannot be read|is a link)"),
    "folder": (lambda f: (f / "added_tokens.json").mkdir(), "added_tokens.json is a folder"),
    "sparse configuration": (lambda f: sparse(f / "config.json", 10 << 30), "config.json is no whole JSON file"),
    "sparse weights": (lambda f: sparse(f / "model.safetensors", 10 << 30), "is longer than its header says"),
    "long header": (
        lambda f: (header(f / "model.safetensors", b"{}", 90 << 20), sparse(f / "model.safetensors", 10 << 30)),
        "has a header of 90",
    ),
    "deep header": (lambda f: header(f / "model.safetensors", b'{"a":' + b"[" * 100_000), "cannot be read"),
    "numbers beyond any": (
        lambda f: header(f / "model.safetensors", b'{"a":{"data_offsets":[0,1' + b"0" * 400 + b"]}}"),
        "cannot be read",
    ),
    "negative place": (
        lambda f: header(f / "model.safetensors", b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,-8]}}'),
        "cannot be read",
    ),
    "weights elsewhere": (
        lambda f: (f / "config.json").write_text('{"transformers_weights": "x.safetensors"}'),
        "names its weights 'x.safetensors'",
    ),
    "absolute shard": (
        lambda f: (
            (f / "model.safetensors").unlink(),
            (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "/etc/passwd"}}'),
        ),
        "names /etc/passwd, which is no file of weights beside it",
    ),
    "shard of another kind": (
        lambda f: (
            (f / "model.safetensors").rename(f / "a.bin"),
            (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "a.bin"}}'),
        ),
        "names a.bin, which is no file of weights beside it",
    ),
    "call": (lambda f: pickled(f / "pytorch_model.bin", {"a": Call()}), r"\(builtins\.bytearray\)"),
    "call, older": (lambda f: pickled(f / "pytorch_model.bin", {"a": Call()}, legacy=True), "bytearray"),
    "two archives": (lambda f: twice(f / "pytorch_model.bin"), "truncated, or not written by"),
    "also a tar": (lambda f: also_a_tar(f / "pytorch_model.bin"), "damaged, or not written by"),
    "no tensors": (lambda f: pickled(f / "pytorch_model.bin", {"a": [1]}), "'a' is not a tensor"),
    "sparse tensor": (lambda f: pickled(f / "pytorch_model.bin", {"a": torch.eye(3).to_sparse()}), "refused"),
    "view that repeats": (
        lambda f: pickled(f / "pytorch_model.bin", {"a": torch.ones(1).expand(1 << 40)}),
        "claims more numbers",
    ),
    "view that repeats, older": (
        lambda f: pickled(f / "pytorch_model.bin", {"a": torch.ones(1).expand(1 << 40)}, legacy=True),
        "claims more numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_folder_is_one_sentence(folder: Path, how: str) -> None:
    make, says = HOSTILE[how]
    make(folder)
    with pytest.raises(UserError, match=says) as error:
        require_whole(folder)
    assert len(str(error.value)) < 400 + len(str(folder))
    assert str(error.value).endswith("download it again.")


def test_nothing_else_that_reads_there_waits_or_fails(folder: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "model.safetensors.index.json", "model.safetensors"):
        pipe(folder / name)
    assert picture_tokens(folder) > 0
    assert count_numbers(folder) is None
    with pytest.raises(UserError, match="it is a pipe"):
        read_config(folder)
    pipe(folder / "tokenizer.json")
    with pytest.raises(UserError, match="it is a pipe"):
        control_tokens(folder)


@pytest.mark.parametrize(
    "entry",
    [b'{"shape":[1' + b"0" * 400 + b"]}", b'{"shape":[-1]}', b'{"shape":null}', b"5", b'{"shape":"12"}'],
)
def test_shapes_that_cannot_be_count_as_none(folder: Path, entry: bytes) -> None:
    header(folder / "model.safetensors", b'{"a":' + entry + b"}")
    assert count_numbers(folder) is None


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "preprocessor_config.json"])
def test_code_in_the_folder_is_neither_run_nor_asked_about(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    code = 'import pathlib\npathlib.Path(__file__).with_name("ran").touch()\nraise SystemExit(9)\n'
    (folder / "own.py").write_text(code)
    content = json.loads((folder / name).read_text())
    classes = {
        "AutoConfig": "own.A",
        "AutoProcessor": "own.A",
        "AutoTokenizer": [None, "own.A"],
        "AutoImageProcessor": "own.A",
    }
    content |= (
        {"auto_map": classes, "model_type": "unheard_of"} if name == "config.json" else {"auto_map": classes}
    )
    (folder / name).write_text(json.dumps(content))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks"))
    try:
        load_processor(folder)
    except UserError as error:
        assert "\n" not in str(error)
    assert not list(folder.rglob("ran"))
