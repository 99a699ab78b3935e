"""Every step of the table has the function that makes it; a build skips, and leaves no Dagster behind."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import get_type_hints

import pytest

from icd_assets.assets.build import maker
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.experiment.steps import STEP, STEPS


@pytest.mark.parametrize("name", STEP)
def test_a_step_has_its_function(name: str) -> None:
    function = maker(name)
    assert get_type_hints(function)["return"] is Report
    assert [hint for key, hint in get_type_hints(function).items() if key != "return"] == [StepRun]
    module = inspect.getmodule(function)
    assert isinstance(module, ModuleType) and (module.__doc__ or "").startswith(f"{name}: ")


def test_parents_come_earlier_and_exist() -> None:
    seen: set[str] = set()
    for step in STEPS:
        assert set(step.parents) <= seen, step.name
        seen.add(step.name)


def test_what_a_step_is_made_from_are_its_parents(tmp_path: Path) -> None:
    """Of a trained cell; what is not read this time (RCE or GRPO, a checkpoint of one's own) is a parent too."""
    from icd_assets_tests.worlds.manifests import STEP_NAMES, new_world

    cell = new_world(tmp_path).cell()
    for step in (STEP[name] for name in STEP_NAMES):
        read = {name.partition(".")[0] for name in step.made_from(cell)[1]} & STEP.keys()
        assert read <= set(step.parents), step.name
        assert read or not step.parents, step.name


def test_no_two_steps_lie_in_one_place(tmp_path: Path) -> None:
    from icd_assets.experiment.catalog import Catalog
    from icd_assets.experiment.experiment import Experiment
    from icd_assets.experiment.settings import read_settings

    catalog = Catalog.load()
    cell = catalog.cell("okvqa_local", "rand_sampler", "qwen2.5_vl_3B")
    experiment = Experiment.open(cell, read_settings(environment={}), tmp_path, catalog)
    places = [experiment.manifest_path(step.name) for step in STEPS]
    assert len(set(places)) == len(STEPS)
    assert all(place.name.endswith(".manifest.json") and place.is_relative_to(tmp_path) for place in places)


def test_a_clock_that_was_set_back_makes_nothing_older_than_what_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor than the one of its kind that was there: of those the newest counts as the last that was asked for."""
    from icd_assets.assets import build
    from icd_assets.experiment.spec import spec_of
    from icd_assets_tests.worlds.manifests import new_world

    class Past(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Past:
            return cls(2001, 1, 1, tzinfo=tz)

    cell = new_world(tmp_path).cell()
    before = build._moment(cell, spec_of(cell, "evaluation"))
    assert abs(datetime.fromisoformat(before) - datetime.now(UTC)) < timedelta(minutes=1)
    monkeypatch.setattr(build, "datetime", Past)
    for asset in ("rl_data", "grpo_checkpoints", "evaluation"):
        spec, there = spec_of(cell, asset), cell.manifest(asset)
        inputs = [cell.store.read(cell.store.root / one.manifest) for one in spec.inputs.values() if one.manifest]
        latest = max(manifest.created_at for manifest in (*inputs, there) if manifest is not None)
        now = datetime.fromisoformat(build._moment(cell, spec))
        assert now == datetime.fromisoformat(latest) + timedelta(seconds=1)


def test_who_answered_is_in_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from icd_assets.assets import build
    from icd_assets_tests.worlds.manifests import new_world

    def made(run: StepRun) -> Report:
        run.asked.append(SimpleNamespace(environment={"vlm_engine": "vllm==0.11.0"}))  # type: ignore[arg-type]
        (run.staging / "x").write_text("x", encoding="utf-8")
        return Report(files={cell.paths.rl_data: run.staging / "x"}, facts={})

    cell = new_world(tmp_path).cell()
    monkeypatch.setattr(build, "maker", lambda _: made)
    found = build.build(cell, "rl_data", force=True).manifest.environment
    assert found["vlm_engine"] == "vllm==0.11.0"
    assert {"torch", "device"} <= found.keys()
