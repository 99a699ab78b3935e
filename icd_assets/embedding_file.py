"""``query_embeddings.pt`` and ``candidate_embeddings.pt``: one bare float32 tensor [n_train, D] (SPEC F)."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import torch
from torch import Tensor

from icd_assets.errors import UserError

_REMEDY = "delete it to have the embeddings exported again"


def write_embeddings(path: Path, embeddings: Tensor) -> None:
    """Equal tensors give equal bytes, whatever the file is called: given its name, torch would write that too."""
    tensor = embeddings.detach().to("cpu", torch.float32).contiguous()
    if tensor.untyped_storage().nbytes() != tensor.nbytes:
        tensor = tensor.clone()  # else all that it is a view of would be written
    with path.open("wb") as file:
        torch.save(tensor, file)


def read_embeddings(path: Path, *, rows: int | None = None) -> Tensor:
    """Row i is train row i. Memory-mapped: VQAv2's take 0.9 GB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about what it then refuses
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; materialize embeddings first.") from None
    except (RuntimeError, ValueError, EOFError, OSError, pickle.UnpicklingError):
        raise UserError(f"{path} is damaged or not a tensor file; {_REMEDY}.") from None
    if not isinstance(found, Tensor) or found.ndim != 2 or found.dtype != torch.float32:
        raise UserError(f"{path} does not hold one float32 tensor [rows, width]; {_REMEDY}.")
    if rows is not None and found.size(0) != rows:
        raise UserError(f"{path} has {found.size(0)} rows, but the train split has {rows}; {_REMEDY}.")
    return found
