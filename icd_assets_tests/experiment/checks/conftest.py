"""A cell of the demo in a folder of its own, as the checks look at it before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.checks.look import Look
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan, Planned
from icd_assets.experiment.settings import read_settings
from icd_assets.experiment.steps import STEPS
from icd_assets.runtime.finding import Finding
from icd_assets_tests.worlds.workplace import new_workplace

Opened = Callable[..., Experiment]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """``opened(RCE_EPOCHS="5", sampler="mix_sampler", sets={("rl_data", "path"): …})``: the cell, look only."""
    place = new_workplace(tmp_path / "work")
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("ICD_CATALOG", str(place.folder / "catalog.yaml"))

    def open_cell(sampler: str = "rand_sampler", sets: Any = None, **variables: str) -> Experiment:
        catalog = Catalog.load()
        settings = read_settings(None, {"RECIPE": "beams", **variables}, sets)
        cell = catalog.cell("demo", sampler, "tiny_vl")
        return replace(Experiment.open(cell, settings, place.results, catalog), read_only=True)

    return open_cell


@pytest.fixture
def written(opened: Opened) -> Opened:
    """The same with the demo's files there."""
    replace(opened(), read_only=False).data.prepare()
    return opened


def looked(experiment: Experiment, *steps: str, thorough: bool = False) -> Look:
    """A look at a plan that makes ``steps``, or all of the recipe."""
    planned = [
        Planned(step, "missing" if not steps or step.name in steps else None, None)
        for step in STEPS
        if not step.left_out(experiment)
    ]
    return Look(Plan(experiment, tuple(planned)), thorough=thorough)


def problems(found: Iterable[Finding]) -> list[str]:
    return [f"{finding.found}: {finding.todo}" for finding in found if finding.level == "problem"]
