"""``query_embeddings.pt`` and ``candidate_embeddings.pt``: one bare float32 tensor [n_train, D] (SPEC F)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.torch_files.stubs import ArrayRecord
from icd_assets.selector.torch_file import read_array_file

_LEAST, _A_ROW = 64 << 20, 64 << 10  # bytes of an older export: 4,096 numbers a row, twice and in two forms
_REMEDY = "delete it to have the embeddings exported again"


def write_embeddings(path: Path, embeddings: Tensor) -> None:
    """Equal tensors give equal bytes, whatever the file is called: given its name, torch would write that too."""
    tensor = embeddings.detach().to("cpu", torch.float32).contiguous()
    if tensor.untyped_storage().nbytes() != tensor.nbytes:
        tensor = tensor.clone()  # else all that it is a view of would be written
    with path.open("wb") as file:
        torch.save(tensor, file)


def read_embeddings(path: Path, *, rows: int | None = None) -> Tensor:
    """Row i is train row i. Memory-mapped if it is a bare tensor: VQAv2's take 0.9 GB.

    Also what older exports left (SPEC F): a NumPy array, or a dict of row → vector. Whatever the file claims, its
    numbers are in it.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; materialize embeddings first.")
    try:
        found = _tensor(read_array_file(path, **({} if rows is None else {"most": _LEAST + rows * _A_ROW})))
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')}; {_REMEDY}.") from None
    except ValueError as error:
        raise UserError(f"{path} holds {error}, not one float32 tensor [rows, width]; {_REMEDY}.") from None
    if rows is not None and found.size(0) != rows:
        raise UserError(f"{path} has {found.size(0)} rows, but the train split has {rows}; {_REMEDY}.")
    return found


def _tensor(content: Any) -> Tensor:
    """[rows, width] float32; ValueError says what it is instead."""
    if isinstance(content, ArrayRecord):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the array is over the bytes read, and torch warns of writing to it
            content = torch.from_numpy(content.array()).float()
    if isinstance(content, dict):
        rows = sorted(content) if all(type(row) is int for row in content) else []
        if not rows or rows != list(range(len(rows))):
            raise ValueError("a dict whose keys are not the rows from 0 upward")
        vectors = [content[row] for row in rows]
        if any(not isinstance(v, Tensor) or v.ndim != 1 or v.layout is not torch.strided for v in vectors):
            raise ValueError("a dict of something else than vectors of one width")
        if any(v.shape != vectors[0].shape or v.dtype != torch.float32 or v.is_meta for v in vectors):
            raise ValueError("a dict of something else than float32 vectors of one width")
        held = {v.untyped_storage().data_ptr(): v.untyped_storage().nbytes() for v in vectors}
        if sum(v.nbytes for v in vectors) > sum(held.values()):
            raise ValueError("fewer numbers than it claims")
        content = torch.stack(vectors)
    if not isinstance(content, Tensor):
        raise ValueError(f"a {type(content).__name__}")
    if content.ndim != 2 or content.dtype != torch.float32 or content.layout is not torch.strided:
        raise ValueError(f"a tensor {list(content.shape)} of {content.dtype}")
    if content.is_meta or content.numel() * content.element_size() > content.untyped_storage().nbytes():
        raise ValueError("fewer numbers than it claims")
    return content
