from __future__ import annotations

import errno
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from icd_assets.vlm.spill import Spill

TENSORS = [
    torch.randn(5, 7, generator=torch.Generator().manual_seed(0)),
    torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16),
    torch.randn(6, 6, generator=torch.Generator().manual_seed(2)).t(),
    torch.arange(4),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_tensors_come_back_to_the_bit_and_leave_no_file(folder: Path) -> None:
    spill = Spill(1 << 20)
    places = [spill.write(tensor) for tensor in TENSORS]
    for tensor, place in reversed(list(zip(TENSORS, places, strict=True))):
        assert place is not None
        found = spill.read(place)
        assert found is not None and found.dtype == tensor.dtype and torch.equal(found, tensor)
    assert list(folder.iterdir()) == []


def test_what_does_not_fit_is_not_taken() -> None:
    spill = Spill(200)
    assert spill.write(TENSORS[0]) is not None  # 140 bytes
    assert spill.write(TENSORS[0]) is None
    assert spill.write(TENSORS[3]) is not None  # 32 more


def test_half_of_the_free_disk_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=300))
    spill = Spill(1 << 20)
    assert spill.write(TENSORS[0]) is not None
    assert spill.write(TENSORS[0]) is None


def test_a_full_disk_ends_it_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spill = Spill(1 << 20)
    place = spill.write(TENSORS[0])
    assert place is not None and spill._file is not None

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    assert [spill.write(tensor) for tensor in TENSORS] == [None] * 4
    assert [record.getMessage() for record in caplog.records] == [
        "image features are not kept on disk from here on: No space left on device"
    ]
    found = spill.read(place)
    assert found is not None and torch.equal(found, TENSORS[0])


def test_a_folder_that_takes_no_file_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert Spill(1 << 20).write(TENSORS[0]) is None


def test_what_the_disk_does_not_give_back_is_none() -> None:
    spill = Spill(1 << 20)
    place = spill.write(TENSORS[0])
    assert place is not None and spill._file is not None
    os.ftruncate(spill._file, 100)
    assert spill.read(place) is None


def test_threads_share_it() -> None:
    spill = Spill(1 << 20)
    many = [torch.full((50,), float(number)) for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(spill.write, many))
        found = list(pool.map(lambda place: spill.read(place) if place else None, places))
    assert all(one is not None and torch.equal(one, other) for one, other in zip(found, many, strict=True))
