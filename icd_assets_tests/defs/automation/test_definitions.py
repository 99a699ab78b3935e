"""Everything that runs by itself is off until a user switches it on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from icd_assets.definitions import defs
from icd_assets_tests.worlds.workplace import KEY, Workplace

PROGRAM = """
import dagster as dg
from icd_assets.definitions import defs
keys = ["candidate_pools", "beam_data"]
partition = dg.MultiPartitionKey({"dataset": "demo", "sampler_model": "RandSampler/tiny_vl"})

def made(instance, asset, version):
    event = dg.AssetMaterialization(asset, partition=partition, tags={"dagster/data_version": version})
    instance.report_runless_asset_event(event)

def asked(instance, cursor):
    result = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
    assets = {key.to_user_string() for key in (r.key for r in result.results) if result.get_num_requested(key)}
    return result.cursor, sorted(assets)

with dg.DagsterInstance.ephemeral() as instance:
    made(instance, "candidate_pools", "one")
    cursor, first = asked(instance, None)
    print(first)
    made(instance, "beam_data", "b1")
    cursor, _ = asked(instance, cursor)
    made(instance, "candidate_pools", "one")
    cursor, same = asked(instance, cursor)
    print(same)
    made(instance, "candidate_pools", "two")
    cursor, changed = asked(instance, cursor)
    print(changed)
"""


def test_schedules_and_sensors_are_stopped() -> None:
    repository = defs.get_repository_def()
    assert {s.name: s.default_status for s in repository.schedule_defs} == {
        "rce_schedule": dg.DefaultScheduleStatus.STOPPED,
        "grpo_schedule": dg.DefaultScheduleStatus.STOPPED,
    }
    assert {s.name: s.default_status for s in repository.sensor_defs} == {
        "new_inputs": dg.DefaultSensorStatus.STOPPED,
        "offer_grpo": dg.DefaultSensorStatus.STOPPED,
    }


def test_no_asset_has_a_condition_unless_asked_for() -> None:
    graph = defs.resolve_asset_graph()
    assert not [key for key in graph.get_all_asset_keys() if graph.get(key).automation_condition is not None]


@pytest.mark.slow
def test_the_condition_fires_on_changed_bytes_of_what_was_made_before(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"automation": {"changed_data": {"enabled": True}}}), encoding="utf-8")
    environment = {"ICD_CATALOG": str(overlay), "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    # Never made: not asked for. The same bytes again: not asked for. Other bytes: asked for.
    assert ended.stdout.splitlines() == ["[]", "[]", "['beam_data']"]


ASKED = """
import sys
import dagster as dg
from icd_assets.definitions import defs

key, tags = sys.argv[1], {"dagster/from_automation_condition": "true"} if sys.argv[2] == "condition" else {}
assets = [asset for asset in defs.assets if isinstance(asset, dg.AssetsDefinition)]
for name in ("rl_data", "rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint"):
    ended = dg.materialize(
        assets, selection=[name], partition_key=key, instance=dg.DagsterInstance.ephemeral(),
        resources=defs.resources, tags=tags, raise_on_error=False,
    )
    made = ended.asset_materializations_for_node(name) if ended.success else []
    print(name, made[0].metadata["skipped"].value if made else "failed")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asker", "grpo"), [("condition", "True"), ("somebody", "failed")], ids=["a condition", "a click"]
)
def test_what_a_condition_asks_for_has_the_settings_it_was_made_with(
    copied: Workplace, asker: str, grpo: str
) -> None:
    """The default, of zero epochs, is what a click without settings asks for."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASKED, KEY, asker],
        cwd=copied.folder,
        env=copied.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "rl_data True",
        "rce_checkpoints True",
        f"grpo_checkpoints {grpo}",
        "v2format_checkpoint True",
    ]


@pytest.mark.slow
def test_a_bad_cron_is_one_sentence(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"automation": {"rce_schedule": {"cron": "at noon"}}}), encoding="utf-8")
    environment = {"ICD_CATALOG": str(overlay), "PYTHONPATH": str(Path(__file__).parents[3])}
    program = "import icd_assets.definitions"
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "automation.rce_schedule.cron 'at noon' is no cron schedule" in ended.stderr
