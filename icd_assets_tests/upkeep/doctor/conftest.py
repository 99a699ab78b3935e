"""A cell of the demo in a folder of its own, as the doctor looks at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import read_settings
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
        settings = read_settings(None, variables, sets)
        cell = catalog.cell("demo", sampler, "tiny_vl")
        return replace(Experiment.open(cell, settings, place.results, catalog), read_only=True)

    return open_cell


@pytest.fixture
def written(opened: Opened) -> Opened:
    """The same with the demo's files there."""
    replace(opened(), read_only=False).data.prepare()
    return opened
