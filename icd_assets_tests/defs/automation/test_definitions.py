"""Everything that runs by itself is off until a user switches it on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dagster as dg
import pytest
import yaml

from icd_assets.definitions import defs
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.workplace import KEY, ROOT, Workplace


def test_schedules_and_sensors_are_stopped() -> None:
    repository = defs.get_repository_def()
    assert {s.name: s.default_status for s in repository.schedule_defs} == {
        "rce_schedule": dg.DefaultScheduleStatus.STOPPED,
        "grpo_schedule": dg.DefaultScheduleStatus.STOPPED,
    }
    assert {s.name: s.default_status for s in repository.sensor_defs} == {
        "cells": dg.DefaultSensorStatus.RUNNING,  # it launches nothing: it has no job
        "dead_runs": dg.DefaultSensorStatus.RUNNING,  # likewise
        "new_inputs": dg.DefaultSensorStatus.STOPPED,
        "offer_grpo": dg.DefaultSensorStatus.STOPPED,
    }


def test_the_sensors_that_are_on_cannot_launch_a_run() -> None:
    on = [s for s in defs.get_repository_def().sensor_defs if s.default_status.value == "RUNNING"]
    assert len(on) == 2
    assert not any(sensor.targets for sensor in on)


def test_no_asset_has_a_condition_unless_asked_for() -> None:
    graph = defs.resolve_asset_graph()
    assert not [key for key in graph.get_all_asset_keys() if graph.get(key).automation_condition is not None]


@pytest.mark.slow
def test_the_condition_fires_on_changed_bytes_of_what_was_made_before(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"automation": {"changed_data": {"enabled": True}}}), encoding="utf-8")
    environment = {"ICD_CATALOG": str(overlay), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        program("evaluate_conditions"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    # Never made: not asked for. The same bytes again: not asked for. Other bytes: asked for.
    assert ended.stdout.splitlines() == ["[]", "[]", "['beam_data']"]


@pytest.mark.slow
@pytest.mark.parametrize("asker", ["condition", "somebody"])
def test_what_a_condition_or_a_click_asks_for_has_the_settings_it_was_made_with(
    copied: Workplace, asker: str
) -> None:
    ended = subprocess.run(
        program("materialize_as", KEY, asker),
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
        "grpo_checkpoints True",
        "v2format_checkpoint True",
    ]


@pytest.mark.slow
def test_a_bad_cron_is_one_sentence(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"automation": {"rce_schedule": {"cron": "at noon"}}}), encoding="utf-8")
    environment = {"ICD_CATALOG": str(overlay), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        program("heavy_imports", "icd_assets.definitions"), env=environment, capture_output=True, text=True
    )
    assert "automation.rce_schedule.cron 'at noon' is no cron schedule" in ended.stderr
