"""Schedules and sensors: which cells, with which settings, and only for a reason."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.v2_source import importable_v2
from icd_assets.lineage.as_made import changed_inputs, chosen, rl_data_new_to_grpo
from icd_assets_tests.worlds.workplace import KEY, Workplace

pytestmark = pytest.mark.slow

ANNOTATIONS = "datasets/demo/demo_train_annotations.json"


@pytest.fixture
def at_home(copied: Workplace, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """The copy of the trained workplace, as the daemon sees it: catalog, results and working directory."""
    catalog = copied.folder / "catalog.yaml"
    catalog.write_text((copied.folder / "catalog.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setenv("ICD_CATALOG", str(catalog))
    monkeypatch.chdir(copied.folder)
    return copied


def sensor_ticks(name: str, instance: dg.DagsterInstance) -> dg.SensorResult:
    from icd_assets.defs.automation.sensors import SENSORS

    sensor = next(found for found in SENSORS if found.name == name)
    result = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    return result


def schedule_ticks(name: str, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    from icd_assets.defs.automation.schedules import SCHEDULES

    schedule = next(found for found in SCHEDULES if found.name == name)
    when = datetime(2026, 1, 3, 2, tzinfo=UTC)
    result = schedule(dg.build_schedule_context(instance=instance, scheduled_execution_time=when))
    return result if isinstance(result, list) else []


def schedule_skip(name: str, instance: dg.DagsterInstance) -> str | None:
    """Why a tick asks for no run; None if it asks for one."""
    from icd_assets.defs.automation.schedules import SCHEDULES

    schedule = next(found for found in SCHEDULES if found.name == name)
    when = datetime(2026, 1, 3, 2, tzinfo=UTC)
    result = schedule(dg.build_schedule_context(instance=instance, scheduled_execution_time=when))
    return result.skip_message if isinstance(result, dg.SkipReason) else None


def declare(place: Workplace, **automation: Any) -> None:
    path = place.folder / "catalog.yaml"
    catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(catalog | {"automation": automation}), encoding="utf-8")


def change_annotations(place: Workplace) -> None:
    """The first train question's annotators agree on something else."""
    path = place.folder / ANNOTATIONS
    content = json.loads(path.read_text(encoding="utf-8"))
    for answer in content["annotations"][0]["answers"]:
        answer["answer"] = "buzz"
    path.write_text(json.dumps(content), encoding="utf-8")


def forget_evaluation(place: Workplace) -> None:
    """So that there is something to do."""
    (path,) = place.results.glob("demo/icl_inference/v3_*/evaluation.manifest.json")
    path.unlink()


def recommend_rce(place: Workplace) -> None:
    """The record of the v2-format checkpoint, as a run with ``v2format_checkpoint.source=rce`` leaves it."""
    (path,) = place.results.glob("demo/model_cpk/v3_*/v2format_checkpoint.manifest.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    (rce,) = place.results.glob("demo/model_cpk/v3_*/rce_checkpoints.manifest.json")
    version = json.loads(rce.read_text(encoding="utf-8"))["data_version"]
    content["facts"]["phase"] = content["want"]["config"]["phase"] = "rce"
    where = str(rce.relative_to(place.results))
    grpo = rce.with_name("grpo_checkpoints.manifest.json")
    content["want"]["config"]["grpo_beside"] = json.loads(grpo.read_text(encoding="utf-8"))["data_version"]
    content["want"]["inputs"] = {"rce_checkpoints": {"data_version": version, "manifest": where}}
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_trained_cell_comes_with_the_settings_it_was_trained_with(at_home: Workplace) -> None:
    (experiment,) = chosen(at_home.results, Catalog.load(), [], {})
    assert experiment.cell.key == KEY
    assert experiment.config("rce_checkpoints").rce_epochs == 5
    assert experiment.config("grpo_checkpoints").freeze_backbone_in_grpo is True
    assert [item.reason for item in Plan.of(experiment).steps] == [
        None
    ] * 9  # so a re-run of it finds nothing to do
    assert changed_inputs(experiment) == {}


def test_settings_of_the_catalog_win(at_home: Workplace) -> None:
    (experiment,) = chosen(at_home.results, Catalog.load(), [KEY], {"rce_checkpoints.rce_epochs": 7})
    assert experiment.config("rce_checkpoints").rce_epochs == 7
    with pytest.raises(UserError, match=r"rce_checkpoints\.epochs: there is no such setting"):
        list(chosen(at_home.results, Catalog.load(), [], {"rce_checkpoints.epochs": 7}))


def test_a_named_cell_that_was_never_trained_has_the_defaults(at_home: Workplace) -> None:
    other = "demo|TextSimSampler/tiny_vl"
    (experiment,) = chosen(at_home.results, Catalog.load(), [other], {})
    assert experiment.cell.key == other
    assert experiment.settings.explicit == {}


def test_a_cell_that_was_not_trained_to_its_end_keeps_its_settings(at_home: Workplace) -> None:
    (path,) = at_home.results.glob("demo/model_cpk/v3_*/v2format_checkpoint.manifest.json")
    path.unlink()
    (experiment,) = chosen(at_home.results, Catalog.load(), [KEY], {})
    assert experiment.config("rce_checkpoints").rce_epochs == 5
    assert experiment.config("grpo_checkpoints").freeze_backbone_in_grpo is True


def test_a_removed_manifest_does_not_take_its_settings_along(at_home: Workplace) -> None:
    """``delete the manifest to have it made again`` is our own advice."""
    (path,) = at_home.results.glob("demo/generated_data/rl_data*.manifest.json")
    before = json.loads(path.read_text(encoding="utf-8"))["want"]["config"]
    path.unlink()
    (experiment,) = chosen(at_home.results, Catalog.load(), [], {})
    assert experiment.settings.explicit["rl_data"]["num_beams"] == before["num_beams"]


def test_a_named_v2_checkpoint_stays_the_one_though_another_lies_in_the_folder(at_home: Workplace) -> None:
    (ours,) = (at_home.results / "demo/model_cpk/v2").glob("*_best.ckpt")
    mine = at_home.folder / "mine.ckpt"
    shutil.copy(ours, mine)
    path = ours.with_name(ours.name + ".manifest.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["files"][0]["path"] = str(mine)
    path.write_text(json.dumps(content | {"origin": "imported"}), encoding="utf-8")
    (experiment,) = chosen(at_home.results, Catalog.load(), [], {})
    assert importable_v2(experiment) == mine  # not ours, which lies where an unnamed one is looked for


def test_a_schedule_asks_for_every_trained_cell(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    forget_evaluation(at_home)
    (asked,) = schedule_ticks("grpo_schedule", instance)
    assert asked.partition_key == KEY
    ops = asked.run_config["ops"]
    assert ops["grpo_checkpoints"]["config"]["grpo_epochs"] == 3
    assert ops["v2format_checkpoint"]["config"]["source"] == "grpo"
    assert not any(op["config"]["force"] for op in ops.values())


def test_a_schedule_runs_nothing_where_nothing_is_to_do(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    assert schedule_skip("grpo_schedule", instance) == f"nothing to do: up to date is {KEY}"
    change_annotations(at_home)
    assert schedule_skip("grpo_schedule", instance) is None


def test_a_cell_that_cannot_be_planned_is_run_and_says_why(
    at_home: Workplace, instance: dg.DagsterInstance
) -> None:
    (at_home.folder / ANNOTATIONS).write_text("{", encoding="utf-8")
    (asked,) = schedule_ticks("grpo_schedule", instance)
    assert asked.partition_key == KEY


def test_the_rce_schedule_leaves_a_cell_that_recommends_grpo(
    at_home: Workplace, instance: dg.DagsterInstance
) -> None:
    assert schedule_ticks("rce_schedule", instance) == []
    declare(at_home, rce_schedule={"settings": {"v2format_checkpoint.source": "rce"}})
    (asked,) = schedule_ticks("rce_schedule", instance)  # unless it is told to recommend RCE
    assert "grpo_checkpoints" not in asked.run_config["ops"]


def test_grpo_beside_a_recommended_rce_keeps_its_settings(
    at_home: Workplace, instance: dg.DagsterInstance
) -> None:
    recommend_rce(at_home)
    (experiment,) = chosen(at_home.results, Catalog.load(), [], {})
    trained = experiment.manifest("grpo_checkpoints")
    assert trained is not None
    (asked,) = schedule_ticks("grpo_schedule", instance)
    config = asked.run_config["ops"]["grpo_checkpoints"]["config"]
    assert {**trained.spec.config, **config} == {**trained.spec.config, "force": False}
    assert config["freeze_backbone_in_grpo"] is True
    change_annotations(at_home)
    (again,) = sensor_ticks("new_inputs", instance).run_requests or []
    assert again.job_name == "rce_recipe"  # what is recommended stays so
    (plain,) = schedule_ticks("rce_schedule", instance)
    assert plain.run_config["ops"]["v2format_checkpoint"]["config"]["source"] == "rce"


def test_no_beams_are_searched_for_a_v2_checkpoint_of_the_users_own(
    at_home: Workplace, instance: dg.DagsterInstance
) -> None:
    (ours,) = (at_home.results / "demo/model_cpk/v2").glob("*_best.ckpt")
    shutil.copy(ours, ours.with_name(ours.name.replace("_best", "_epoch=12_train=21.9_val=22.0")))
    (asked,) = schedule_ticks("grpo_schedule", instance)
    assert "beam_data" not in asked.run_config["ops"]
    assert dg.AssetKey("beam_data") not in (asked.asset_selection or [])
    assert dg.AssetKey("rl_data") in (asked.asset_selection or [])


def test_a_schedule_forces_what_the_catalog_says(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    declare(at_home, grpo_schedule={"cells": [KEY], "force": ["rl_data"]})
    (asked,) = schedule_ticks("grpo_schedule", instance)
    forced = [name for name, op in asked.run_config["ops"].items() if op["config"]["force"]]
    assert forced == ["rl_data"]


def test_a_request_is_a_valid_run(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    """Dagster takes its config, and the run finds nothing to do."""
    from icd_assets.definitions import defs

    (at_home.results / "leaderboard.json").unlink(missing_ok=True)
    (asked,) = schedule_ticks("grpo_schedule", instance)
    job = defs.resolve_job_def("grpo_recipe")
    result = job.execute_in_process(
        instance=instance,
        partition_key=KEY,
        run_config=asked.run_config,
        asset_selection=asked.asset_selection,
        raise_on_error=True,
    )
    assert result.success
    skipped = [
        event.materialization.metadata["skipped"].value
        for event in result.get_asset_materialization_events()
        if "skipped" in event.materialization.metadata
    ]
    assert skipped == [True] * 9
    assert (at_home.results / "leaderboard.json").is_file()  # of no partition, and in the same run


def test_unchanged_inputs_ask_for_nothing(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    (at_home.folder / ANNOTATIONS).touch()  # content counts, not time
    assert sensor_ticks("new_inputs", instance).run_requests == []
    assert sensor_ticks("offer_grpo", instance).run_requests == []


def test_a_changed_annotation_file_asks_once(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    change_annotations(at_home)
    (asked,) = sensor_ticks("new_inputs", instance).run_requests or []
    assert asked.job_name == "grpo_recipe"  # as it was trained
    (again,) = sensor_ticks("new_inputs", instance).run_requests or []
    assert again.run_key == asked.run_key  # which Dagster answers once


def test_content_that_changes_there_and_back_is_another_cause(
    at_home: Workplace, instance: dg.DagsterInstance
) -> None:
    """Dagster never answers a sensor's key twice."""
    change_annotations(at_home)
    (asked,) = sensor_ticks("new_inputs", instance).run_requests or []
    offered = rl_data_key(at_home)
    # As if all had been made again, twice, to the same bytes.
    for path in at_home.results.rglob("*.manifest.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(content | {"created_at": "2030-01-01T00:00:00+00:00"}), encoding="utf-8")
    (again,) = sensor_ticks("new_inputs", instance).run_requests or []
    assert again.run_key != asked.run_key
    assert rl_data_key(at_home) != offered


def rl_data_key(place: Workplace) -> str | None:
    """Why GRPO is offered for RL data of other bytes."""
    (path,) = place.results.glob("demo/generated_data/rl_data*.manifest.json")
    kept = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(kept) | {"data_version": "0123456789abcdef"}), encoding="utf-8")
    (experiment,) = chosen(place.results, Catalog.load(), [], {})
    found = rl_data_new_to_grpo(experiment)
    path.write_text(kept, encoding="utf-8")
    return found


def test_beams_that_no_run_would_make_ask_for_nothing(at_home: Workplace) -> None:
    (ours,) = (at_home.results / "demo/model_cpk/v2").glob("*_best.ckpt")
    shutil.copy(ours, ours.with_name(ours.name.replace("_best", "_epoch=12_train=21.9_val=22.0")))
    change_annotations(at_home)
    (experiment,) = chosen(at_home.results, Catalog.load(), [], {})
    assert not [name for name in changed_inputs(experiment) if name.startswith("beam_data")]


def test_a_v2_checkpoint_of_a_named_cell_that_was_never_trained_asks(
    at_home: Workplace, instance: dg.DagsterInstance
) -> None:
    other = "demo|TextSimSampler/tiny_vl"
    declare(at_home, new_inputs={"cells": [other]})
    assert not sensor_ticks("new_inputs", instance).run_requests
    (ours,) = (at_home.results / "demo/model_cpk/v2").glob("*_best.ckpt")
    shutil.copy(ours, ours.with_name("tiny_vl_TextSimSampler_new.ckpt"))
    (asked,) = sensor_ticks("new_inputs", instance).run_requests or []
    assert asked.partition_key == other


def test_a_broken_manifest_stops_its_own_cell_alone(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    folder = at_home.results / "demo/model_cpk/v3_ImgSimSampler_tiny_vl"
    folder.mkdir()
    (folder / "v2format_checkpoint.manifest.json").write_text("{", encoding="utf-8")
    forget_evaluation(at_home)
    assert "v3_ImgSimSampler_tiny_vl" in str(sensor_ticks("new_inputs", instance).skip_reason)
    (asked,) = schedule_ticks("grpo_schedule", instance)
    assert asked.partition_key == KEY


def test_a_new_v2_checkpoint_asks(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    (ours,) = (at_home.results / "demo/model_cpk/v2").glob("*_best.ckpt")
    mine = ours.with_name(ours.name.replace("_best", "_epoch=12_train=21.9_val=22.0"))
    shutil.copy(ours, mine)
    (asked,) = sensor_ticks("new_inputs", instance).run_requests or []
    assert asked.partition_key == KEY


def test_two_new_v2_checkpoints_are_reported_not_drawn(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    (ours,) = (at_home.results / "demo/model_cpk/v2").glob("*_best.ckpt")
    for epoch in (3, 12):
        shutil.copy(ours, ours.with_name(ours.name.replace("_best", f"_epoch={epoch}_train=1_val=2")))
    result = sensor_ticks("new_inputs", instance)
    assert not result.run_requests
    assert "holds 2 v2 checkpoints" in str(result.skip_reason)
    declare(at_home, grpo_schedule={"cells": [KEY, "demo|TextSimSampler/tiny_vl"]})
    (other,) = schedule_ticks("grpo_schedule", instance)  # whose turn it is all the same
    assert other.partition_key == "demo|TextSimSampler/tiny_vl"


def test_grpo_is_offered_for_rl_data_it_has_not_seen(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    path = at_home.results / "demo/generated_data/rl_data_RandSampler_tiny_vl.json.manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"data_version": "0123456789abcdef"}), encoding="utf-8")
    (asked,) = sensor_ticks("offer_grpo", instance).run_requests or []
    assert asked.run_key is not None
    assert asked.run_key.rpartition(":")[2].startswith("0123456789abcdef-")


def test_grpo_is_offered_where_there_is_none(at_home: Workplace) -> None:
    (experiment,) = chosen(at_home.results, Catalog.load(), [], {})
    experiment.manifest_path("grpo_checkpoints").unlink()
    assert rl_data_new_to_grpo(experiment) is not None


def test_a_cell_at_work_is_left_alone(at_home: Workplace, instance: dg.DagsterInstance) -> None:
    change_annotations(at_home)
    instance.add_run(
        dg.DagsterRun("rce_recipe", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": KEY})
    )
    assert sensor_ticks("new_inputs", instance).run_requests == []


@pytest.mark.parametrize(
    ("automation", "sentence"),
    [
        ({"nightly": {}}, "unknown automation 'nightly'"),
        ({"rce_schedule": {"cells": ["demo|RandSampler/tiny_v1"]}}, r"did you mean demo\|RandSampler/tiny_vl"),
        ({"rce_schedule": {"enabled": True}}, r"automation\.rce_schedule\.enabled would be ignored"),
        ({"new_inputs": {"cron": "nonsense"}}, r"automation\.new_inputs\.cron would be ignored"),
        ({"changed_data": {"cells": [KEY]}}, r"automation\.changed_data\.cells would be ignored"),
        ({"rce_schedule": {"force": ["grpo_checkpoints"]}}, "its job has no grpo_checkpoints"),
        ({"rce_schedule": {"cells": "demo"}}, r"automation\.rce_schedule\.cells"),
    ],
)
def test_a_bad_entry_is_one_sentence(tmp_path: Path, automation: Any, sentence: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"automation": automation}), encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        Catalog.load(path)
