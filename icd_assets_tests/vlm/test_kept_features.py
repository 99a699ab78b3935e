"""Features of pictures on disk: found again to the bit, by whoever would compute the same, and never trusted."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from icd_assets.vlm import kept_features
from icd_assets.vlm.kept_features import KeptFeatures

FOUND = {
    "features": torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16),
    "ids": torch.arange(5),
    "turned": torch.randn(3, 2, generator=torch.Generator().manual_seed(1)).t(),
}


def alike(found: dict[str, torch.Tensor] | None) -> bool:
    return (
        found is not None
        and found.keys() == FOUND.keys()
        and all(found[name].dtype == one.dtype and torch.equal(found[name], one) for name, one in FOUND.items())
    )


def test_another_process_finds_them_to_the_bit(tmp_path: Path) -> None:
    assert KeptFeatures(tmp_path, ["model", 1]).put("picture", FOUND)
    assert alike(KeptFeatures(tmp_path, ["model", 1]).get("picture"))
    assert KeptFeatures(tmp_path, ["model", 1]).get("another") is None
    assert KeptFeatures(tmp_path, ["another", 1]).get("picture") is None


def test_one_changed_byte_anywhere_and_it_is_not_there(tmp_path: Path) -> None:
    kept = KeptFeatures(tmp_path, [])
    assert kept.put("picture", FOUND)
    (path,) = tmp_path.glob("*/picture")
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert kept.get("picture") is None
    for damaged in (b"", content[:10], content[:-1], content + b"x"):
        path.write_bytes(damaged)
        assert kept.get("picture") is None
    assert kept.put("picture", FOUND)
    assert alike(kept.get("picture"))


def test_an_eighth_of_what_is_free_is_theirs_whoever_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = 16 + 4 * 1000 + 80  # a picture's file, about
    monkeypatch.setattr(kept_features, "_MEASURED_EVERY", 1)
    disk = 8 * 10.5 * one

    def usage(_: object) -> SimpleNamespace:
        return SimpleNamespace(free=disk - sum(path.stat().st_size for path in tmp_path.glob("*/picture*")))

    monkeypatch.setattr("shutil.disk_usage", usage)
    writers = [KeptFeatures(tmp_path, []) for _ in range(4)]
    taken = [writers[number % 4].put(f"picture{number}", {"a": torch.zeros(1000)}) for number in range(40)]
    assert taken == [True] * 10 + [False] * 30


def test_other_models_oldest_features_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, model in enumerate("abc"):
        assert KeptFeatures(tmp_path, [model]).put("picture", {"a": torch.zeros(1000)})
        (folder,) = (path for path in tmp_path.iterdir() if path.stat().st_mtime > time.time() - 60)
        os.utime(folder, (age + 1, age + 1))
    monkeypatch.setattr(kept_features, "_MOST", 20_000)
    assert KeptFeatures(tmp_path, ["d"]).put("picture", {"a": torch.zeros(1000)})
    left = [model for model in "abcd" if KeptFeatures(tmp_path, [model]).get("picture") is not None]
    assert left == ["b", "c", "d"]
    assert KeptFeatures(tmp_path, ["e"]).put("large", {"a": torch.zeros(10_000)}) is False


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    kept = KeptFeatures(tmp_path / "file", [])
    assert [kept.put("picture", FOUND), kept.get("picture")] == [False, None]
    kept = KeptFeatures(tmp_path / "full", [])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(kept_features, "replacing", full)
    assert [kept.put("picture", FOUND), kept.put("picture", FOUND)] == [False, False]


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    kept = KeptFeatures(tmp_path, [])
    assert kept.put("picture", FOUND)
    folder = kept._own
    left = folder / f".other.{_gone()}-1.tmp"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    assert KeptFeatures(tmp_path, []).put("next", FOUND)
    assert sorted(path.name for path in folder.iterdir()) == ["next", "picture"]


def _gone() -> int:
    """The number of a process that has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid
