"""What inference.sh takes is said where it is another file than the recommended one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icd_assets.lever_plus.inference import found_instead, taken_by_inference
from icd_assets_tests.worlds.manifests import World, new_world

V3 = Path("v3_RandSampler_m0")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def test_newest_first_grpo_before_rce_and_no_other_folder(world: World) -> None:
    plain = world.experiment()
    assert taken_by_inference(plain) is None
    for seconds, name in enumerate(("other.pt", "rce_epoch1.pt", "rce_epoch2.pt", "grpo_epoch1.pt")):
        path = plain.paths.v3_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (seconds, seconds))  # a disk may know no finer times
        assert taken_by_inference(plain) == path
    (plain.paths.v3_folder / "rce_epoch2_v2format.ckpt").write_bytes(b"")
    assert taken_by_inference(plain) == path
    converted = plain.paths.v3_folder / "grpo_epoch1_v2format.ckpt"
    converted.write_bytes(b"")
    assert taken_by_inference(plain) == converted
    named = world.experiment(RUN_NAME="b", HARD_WEIGHT="2")
    assert taken_by_inference(named) == converted  # whatever follows the cell in a folder's name


def test_what_is_said() -> None:
    ours = V3 / "icd_assets" / "grpo_epoch1_v2format.ckpt"
    assert found_instead(ours, ours) is None
    assert found_instead(None, ours) == "inference.sh finds none of this cell by itself"
    theirs = V3 / "grpo_epoch1_v2format.ckpt"
    assert found_instead(theirs, ours) == f"inference.sh takes {theirs}"
    assert found_instead(V3 / "grpo_epoch1.pt", ours) == (
        f"inference.sh takes {V3}/grpo_epoch1.pt and converts it, with random attention"
    )
