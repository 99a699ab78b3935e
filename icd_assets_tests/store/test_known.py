"""What is read once stays as it was read, answers and complaints alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.store.known import Known
from icd_assets.store.store import Store


def test_the_first_answer_stays() -> None:
    known, asked = Known[int](), []

    def ask() -> int:
        asked.append(1)
        return len(asked)

    assert [known.get("a", ask), known.get("a", ask), known.get("b", ask)] == [1, 1, 2]


def test_the_first_complaint_stays() -> None:
    known, asked = Known[int](), []

    def complain() -> int:
        asked.append(1)
        raise UserError("no such file.")

    for _ in range(2):
        with pytest.raises(UserError, match="no such file"):
            known.get("a", complain)
    assert len(asked) == 1


def test_a_store_that_reads_once_does_not_see_what_comes_later(tmp_path: Path) -> None:
    store, path = Store(tmp_path), tmp_path / "a.json.manifest.json"
    once = store.read_once()
    assert once.read(path) is None
    path.write_text("no manifest")
    assert once.read(path) is None
    with pytest.raises(UserError, match="is not a manifest"):
        store.read(path)
    assert once.digests is store.digests
