"""Another run makes an input again while a step waits or reads: what the step makes is of what its manifest
names, or it makes nothing."""

from __future__ import annotations

import json
import subprocess

import pytest

from icd_assets_tests.programs import program
from icd_assets_tests.worlds.workplace import KEY, Workplace, shrink


def explain(place: Workplace, call: str, when: str) -> dict[str, object]:
    shrink(place)
    ended = subprocess.run(
        program("remake_pools_meanwhile", KEY, call, when),
        cwd=place.folder,
        env=place.environment | {"DAGSTER_HOME": str(place.folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def test_while_it_waits_for_its_gpu(workplace: Workplace) -> None:
    found = explain(workplace, "icd_assets.runtime.device:visible_gpus", "before")  # the first that a lease does
    assert found.pop("problem") is None
    assert found == {"changed": True, "made": True, "of_todays": True, "foreign": 0, "again": None}


READS = {"before": "icd_assets.assets.inputs:train_pools", "after": "icd_assets.pools.files:read_pools"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_just_before_it_reads_and_while_it_does(workplace: Workplace, when: str) -> None:
    found = explain(workplace, READS[when], when)
    assert found.pop("problem") == (
        "another run made candidate_pools again while beam_data was about to read it; run this again."
    )
    assert found == {"changed": True, "made": False, "again": None}
