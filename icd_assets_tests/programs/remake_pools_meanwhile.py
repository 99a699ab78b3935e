"""Makes beam_data of the cell KEY; ``before`` or ``after`` the first call of PLACE in it, candidate_pools are made
again under another setting. Prints what became of it, as JSON."""

import json
import sys

import dagster as dg

from icd_assets.definitions import defs
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.settings import read_settings
from icd_assets.pools.files import read_pools
from icd_assets.scoring.beam_file import read_beams
from icd_assets_tests.torture.faults import wrap

key, place, when = sys.argv[1:]
assets = [asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)]
instance = dg.DagsterInstance.ephemeral()


def make(name: str, **config: object) -> str | None:
    """Why it failed, if it did."""
    ended = dg.materialize(
        assets,
        selection=[name],
        partition_key=key,
        instance=instance,
        resources=defs.resources,
        run_config={"ops": {name: {"config": config}}, "resources": {"shared": {"config": {"recipe": "beams"}}}},
        raise_on_error=False,
    )
    failed = [event for event in ended.all_events if event.is_step_failure]
    return failed[0].step_failure_data.user_failure_data.description if failed else None


def experiment() -> Experiment:
    return Experiment.open(Cell.parse(key), read_settings(), results_root())


def version(asset: str) -> str | None:
    found = experiment().manifest(asset)
    return found and found.data_version


calls = []


def meanwhile(arguments: object) -> None:
    calls.append(1)
    if len(calls) == 1:
        assert make("candidate_pools", allow_same_image=True) is None


make("candidate_pools")
before = version("candidate_pools")
wrap(place, meanwhile, after=when == "after")
problem = make("beam_data")
there = experiment().manifest("beam_data")
found = {"problem": problem, "changed": version("candidate_pools") != before, "made": there is not None}
if there is not None:
    made_of = there.spec.inputs["candidate_pools"].data_version
    found["of_todays"] = made_of == version("candidate_pools")
    pools = read_pools(experiment().files("candidate_pools")[0], n_rows=10**6, size=64)
    beams = read_beams(experiment().files("beam_data")[0])
    found["foreign"] = sum(id not in pools[row] for row in beams for beam in beams[row].beams for id in beam.icds)
found["again"] = make("beam_data")
print(json.dumps(found))
