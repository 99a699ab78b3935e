"""Which epochs of a training become v2-format checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from icd_assets.errors import UserError

_NUMBER = re.compile(r".*_epoch(\d+)\.pt")


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


def last_kept(files: Sequence[Path]) -> Path | None:
    """The last epoch whose file was not pruned: the one that Lever-Plus' inference.sh takes, which converts it by
    itself, and leaves its attention random, where no v2-format file lies beside it."""
    numbered = [(int(found[1]), path) for path in files if (found := _NUMBER.fullmatch(path.name))]
    return max(((number, path) for number, path in numbered if path.is_file()), default=(0, None))[1]


def v2format_of(source: Path) -> Path:
    """Where inference.sh looks for the conversion of an epoch."""
    return source.with_name(f"{source.stem}_v2format.ckpt")
