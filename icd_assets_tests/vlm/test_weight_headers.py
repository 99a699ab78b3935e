"""Broken downloads of a model are named from their files' beginnings, whole ones pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from icd_assets.errors import UserError
from icd_assets.vlm.weight_headers import require_whole

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 7340032\n"
TENSORS = {name: torch.ones(64, 4) for name in ("a", "b", "c", "d")}
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model in two shards."""
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    where = {}
    for name, keys in ((FIRST, "ab"), (SECOND, "cd")):
        save_file({key: TENSORS[key] for key in keys}, tmp_path / name, metadata={"format": "pt"})
        where |= dict.fromkeys(keys, name)
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return tmp_path


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def swap(folder: Path) -> None:
    (folder / FIRST).write_bytes((folder / SECOND).read_bytes())


def rewrite(path: Path, before: bytes, after: bytes) -> None:
    content = path.read_bytes()
    assert len(before) == len(after) and before in content
    path.write_bytes(content.replace(before, after))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "pointer": (
        lambda f: (f / SECOND).write_text(POINTER),
        f"{SECOND} is the git-lfs pointer to a file of 7.0 MiB",
    ),
    "missing": (
        lambda f: (f / SECOND).unlink(),
        f"names 2 files of weights, of which 1 are there; {SECOND} is missing",
    ),
    "cut": (lambda f: cut(f / SECOND, -1000), r"is cut: it has [\d,]+ of the [\d,]+ bytes"),
    "cut header": (lambda f: cut(f / SECOND, 20), "is no safetensors file"),
    "longer": (
        lambda f: (f / FIRST).write_bytes((f / FIRST).read_bytes() + b"x"),
        "is longer than its header says",
    ),
    "type": (lambda f: rewrite(f / FIRST, b'"F32"', b'"F99"'), "has a damaged header"),
    "shape": (lambda f: rewrite(f / FIRST, b"[64,4]", b"[64,5]"), "has a damaged header"),
    "places": (lambda f: rewrite(f / FIRST, b"[0,1024]", b"[9,1024]"), "has a damaged header"),
    "empty": (lambda f: (f / FIRST).write_bytes(b""), "is empty"),
    "page": (lambda f: (f / FIRST).write_text("<!DOCTYPE html><title>Log in</title>"), "is a web page"),
    "foreign": (lambda f: (f / FIRST).write_bytes(b"\xff" * 500), "is no safetensors file"),
    "header of nonsense": (
        lambda f: (f / FIRST).write_bytes((9).to_bytes(8, "little") + b'{"a": 5} '),
        "its header cannot be read",
    ),
    "another shard": (swap, "lacks a, which model.safetensors.index.json says lies in it"),
    "no index": (lambda f: (f / INDEX).unlink(), "holds shards"),
    "index of nothing": (lambda f: (f / INDEX).write_text("{}"), "has no weight_map"),
    "hostile index": (
        lambda f: (f / INDEX).write_text('{"weight_map": {"a": "../../etc/passwd"}}'),
        r"names \.\./\.\./etc/passwd, which is no file of weights beside it",
    ),
    "config pointer": (lambda f: (f / "config.json").write_text(POINTER), "config.json is the git-lfs pointer"),
    "config cut": (lambda f: (f / "config.json").write_text('{"model_type": '), "config.json is no whole JSON"),
    "config nested": (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json is no whole JSON"),
    "tokenizer cut": (
        lambda f: (f / "tokenizer.json").write_text('{"version": "1.'),
        "tokenizer.json is no whole",
    ),
    "merges pointer": (lambda f: (f / "merges.txt").write_text(POINTER), "merges.txt is the git-lfs pointer"),
    "dangling": (
        lambda f: (f / "tokenizer.json").symlink_to("blobs/none"),
        "is a link to a file that is not there",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_download_is_named(folder: Path, how: str) -> None:
    require_whole(folder)
    break_it, said = BROKEN[how]
    break_it(folder)
    with pytest.raises(UserError, match=said) as error:
        require_whole(folder)
    assert str(error.value).endswith(
        ("download it again.", "download the model again.", "download the folder again.")
    )


def test_a_stale_index_beside_whole_weights_is_not_read(folder: Path) -> None:
    (folder / SECOND).unlink()
    save_file(TENSORS, folder / "model.safetensors")
    require_whole(folder)


def test_what_lies_in_folders_below_is_not_loaded(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx/model.safetensors").write_text(POINTER)
    require_whole(folder)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_weights(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=not legacy)
    require_whole(tmp_path)
    cut(path, -100)
    with pytest.raises(UserError, match=r"(truncated|damaged), or not written by"):
        require_whole(tmp_path)
    for content, said in ((POINTER, "git-lfs pointer"), ("hello", r"no file of torch\.save")):
        path.write_text(content)
        with pytest.raises(UserError, match=said):
            require_whole(tmp_path)


def test_shards_of_pickled_weights(folder: Path) -> None:
    (folder / INDEX).unlink()
    torch.save(TENSORS, folder / "pytorch_model-00001-of-00001.bin")
    index = {"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    require_whole(folder)
    cut(folder / "pytorch_model-00001-of-00001.bin", -50)
    with pytest.raises(UserError, match=r"(truncated|damaged), or not written by"):
        require_whole(folder)


def test_the_demo_models_are_whole(tmp_path: Path) -> None:
    weights = Path(__file__).parents[2] / "icd_assets/demo/weights"
    for name in ("tiny_vl", "tiny_clip"):
        require_whole(weights / name)
        shutil.copytree(weights / name, tmp_path / name)
        cut(next((tmp_path / name).glob("*.safetensors")), -1)
        with pytest.raises(UserError, match="is cut"):
            require_whole(tmp_path / name)
