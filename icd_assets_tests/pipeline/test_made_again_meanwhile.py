"""Another run makes an input again while a step waits or reads: what the step makes is of what its manifest
names, or it makes nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from icd_assets_tests.worlds.workplace import KEY, Workplace, shrink

# Makes beam_data; at the named call in it, candidate_pools are made again under another setting.
PROGRAM = """
import json, sys
import dagster as dg
from icd_assets.experiment.cell import Cell
from icd_assets.definitions import defs
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.pools.files import read_pools
from icd_assets.scoring.beam_file import read_beams
from icd_assets.experiment.settings import read_settings
from icd_assets_tests.torture.faults import wrap

key, place, after = sys.argv[1], sys.argv[2], sys.argv[3] == "after"
assets = [asset for asset in defs.assets if isinstance(asset, dg.AssetsDefinition)]
instance = dg.DagsterInstance.ephemeral()

def make(name, **config):
    ended = dg.materialize(
        assets, selection=[name], partition_key=key, instance=instance, resources=defs.resources,
        run_config={"ops": {name: {"config": config}}}, raise_on_error=False,
    )
    failed = [event for event in ended.all_events if event.is_step_failure]
    return failed[0].step_failure_data.user_failure_data.description if failed else None

def experiment():
    return Experiment.open(Cell.parse(key), read_settings(), results_root())

def version(asset):
    found = experiment().manifest(asset)
    return found and found.data_version

calls = []
def meanwhile(arguments):
    calls.append(1)
    if len(calls) == 1:
        assert make("candidate_pools", allow_same_image=True) is None

make("candidate_pools")
before = version("candidate_pools")
wrap(place, meanwhile, after=after)
problem = make("beam_data")
there = experiment().manifest("beam_data")
told = {"problem": problem, "changed": version("candidate_pools") != before, "made": there is not None}
if there is not None:
    made_of = there.spec.inputs["candidate_pools"].data_version
    told["of_todays"] = made_of == version("candidate_pools")
    pools = read_pools(experiment().files("candidate_pools")[0], n_rows=10**6, size=64)
    beams = read_beams(experiment().files("beam_data")[0])
    told["foreign"] = sum(id not in pools[row] for row in beams for beam in beams[row].beams for id in beam.icds)
told["again"] = make("beam_data")
print(json.dumps(told))
"""


def explain(place: Workplace, call: str, when: str) -> dict[str, object]:
    shrink(place)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, KEY, call, when],
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
