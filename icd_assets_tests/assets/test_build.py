"""Every step of the table has the function that makes it; a build skips, and leaves no Dagster behind."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
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
