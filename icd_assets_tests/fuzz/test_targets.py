"""Every target reads its own sound files, and refuses some of a few hundred damaged ones in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets_tests.fuzz import driver

COUNT = 200


@pytest.mark.parametrize("name", driver.names())
def test_a_target_takes_sound_files_and_survives_damaged_ones(name: str, tmp_path: Path) -> None:
    target = driver.load(name)
    path = tmp_path / f"given{target.SUFFIX}"
    sound = len(list(target.seeds()))
    taken = [driver.attempt(target, path, content) for content in driver.tries(target, COUNT)]
    assert all(taken[:sound]), "a seed must be a sound file"
    assert not all(taken[sound:]), "damage is seen"
