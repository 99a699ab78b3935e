"""Embeddings on disk: upstream's bare tensor, and nothing else."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.selector.embedding_file import read_embeddings, write_embeddings


def test_round_trip_is_a_bare_tensor_with_equal_bytes_under_any_name(tmp_path: Path) -> None:
    tensor = torch.randn(6, 4)
    for name in ("query_embeddings.pt", "b.pt"):
        write_embeddings(tmp_path / name, tensor)
    assert torch.equal(read_embeddings(tmp_path / "b.pt", rows=6), tensor)
    assert torch.equal(torch.load(tmp_path / "b.pt", weights_only=True), tensor)  # as upstream reads it
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "query_embeddings.pt").read_bytes()


def test_a_file_holds_the_tensor_and_not_what_it_is_a_view_of(tmp_path: Path) -> None:
    whole = torch.randn(500, 4)
    write_embeddings(tmp_path / "view.pt", whole[10:16])
    write_embeddings(tmp_path / "copy.pt", whole[10:16].clone())
    assert (tmp_path / "view.pt").read_bytes() == (tmp_path / "copy.pt").read_bytes()
    memory = io.BytesIO()
    torch.save(whole[10:16].clone(), memory)
    assert (tmp_path / "view.pt").read_bytes() == memory.getvalue()  # as before files were written directly


class Hostile:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["missing", "truncated", "foreign", "hostile", "dict", "vector", "half", "rows"])
def test_a_bad_file_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "query_embeddings.pt"
    write_embeddings(path, torch.randn(6, 4))
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "foreign":
        path.write_text('{"no": "tensor"}')
    elif kind == "rows":
        write_embeddings(path, torch.randn(5, 4))
    else:
        content = {
            "hostile": Hostile(str(tmp_path / "executed")),
            "dict": {"a": torch.zeros(6, 4)},
            "vector": torch.zeros(6),
            "half": torch.zeros(6, 4, dtype=torch.float16),
        }[kind]
        torch.save(content, path)
    with pytest.raises(UserError, match=r"query_embeddings\.pt.*(again|materialize embeddings first)"):
        read_embeddings(path, rows=6)
    assert not (tmp_path / "executed").exists()
