"""Whether the leaderboard knows of an evaluation is seen in it, whatever the clock was when it was written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from icd_assets.defs.runs.unrecorded import may_be_unrecorded
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets_tests.worlds.manifests import new_world


@pytest.fixture
def cell(tmp_path: Path) -> Experiment:
    return new_world(tmp_path).cell()


def write(cell: Experiment, rows: Any, mtime: float) -> bool:
    path = cell.store.root / "leaderboard.json"
    path.write_text(json.dumps(rows))
    os.utime(path, (mtime, mtime))
    return may_be_unrecorded(Plan.of(cell))


@pytest.mark.parametrize("mtime", [1.0, 4e9], ids=["clock set back", "clock ahead"])
def test_by_its_rows(cell: Experiment, mtime: float) -> None:
    evaluation = cell.manifest("evaluation")
    assert evaluation is not None
    dataset, rest = cell.cell.key.split("|")
    row = {"dataset": dataset, "sampler_model": rest, "evaluated_at": evaluation.created_at}
    assert not write(cell, [{**row, "sampler_model": "other"}, row], mtime)
    for other in ({"evaluated_at": "2001-01-01T00:00:00+00:00"}, {"sampler_model": "other"}, {"dataset": "d9"}):
        assert write(cell, [row | other], mtime)


@pytest.mark.parametrize("rows", [[], {}, [1], None, [{}], [[]], [{"dataset": []}]])
def test_another_shape_is_drawn_up_again(cell: Experiment, rows: Any) -> None:
    assert write(cell, rows, 4e9)
