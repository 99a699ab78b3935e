"""Which epoch of a training becomes the v2-format checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from icd_assets.errors import UserError


def epoch_to_convert(
    phase: str, which: Literal["last", "best"], files: Sequence[Path], facts: Mapping[str, Any]
) -> tuple[int, Path]:
    """(number from 1, its file) of a trained ``phase`` (``rce``, ``grpo``).

    ``files`` are its checkpoints. ``facts`` are those of the training: ``epochs``, and ``best_epoch`` where it is
    known. Raises ``UserError`` if it is not known, or if the file was pruned.
    """
    number = facts["epochs"] if which == "last" else facts.get("best_epoch")
    if number is None:
        raise UserError(f"the adopted {phase} checkpoints do not say which epoch is best; set epoch to last.")
    file = next(path for path in files if path.name == f"{phase}_epoch{number}.pt")
    if not file.is_file():
        raise UserError(f"{file} was pruned; make it again with --force {phase}_checkpoints.")
    return number, file
