"""The epoch that is converted is the last or the best, and it must be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.selector.epoch_to_convert import epoch_to_convert, last_kept, v2format_of


def test_last_or_best_and_what_is_missing_is_named(tmp_path: Path) -> None:
    files = [tmp_path / f"grpo_epoch{number}.pt" for number in range(1, 11)]
    for path in files:
        path.touch()
    facts = {"epochs": 10, "best_epoch": 2}
    assert epoch_to_convert("grpo", "last", files, facts) == (10, files[9])
    assert epoch_to_convert("grpo", "best", files, facts) == (2, files[1])
    with pytest.raises(UserError, match="adopted grpo checkpoints do not say which epoch is best"):
        epoch_to_convert("grpo", "best", files, {"epochs": 10})
    files[1].unlink()
    with pytest.raises(UserError, match=r"grpo_epoch2\.pt was pruned; .*--force grpo_checkpoints"):
        epoch_to_convert("grpo", "best", files, facts)


def test_the_last_epoch_that_is_still_there(tmp_path: Path) -> None:
    files = [tmp_path / f"grpo_epoch{number}.pt" for number in range(1, 11)]
    assert last_kept(files) is None
    for path in files[:10]:
        path.write_bytes(b"")
    assert last_kept(files[::-1]) == files[9]  # ten comes after nine
    files[9].unlink()  # pruned
    assert last_kept(files) == files[8]
    assert v2format_of(files[8]).name == "grpo_epoch9_v2format.ckpt"
