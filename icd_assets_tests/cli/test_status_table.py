"""The table of cells at any width: no name is cut, no line is longer than the screen."""

from __future__ import annotations

import pytest

from icd_assets.cli.status_table import lines
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.steps import STEPS
from icd_assets.upkeep.status import AssetStatus, CellStatus, State
from icd_assets_tests.worlds.manifests import STEP_NAMES, World

LONG = "okvqa|RandSampler/Qwen2_5-VL-3B-Instruct"


def cells(world: World) -> list[CellStatus]:
    one = world.experiment()
    other = Experiment(Cell.parse(LONG), one.settings, one.store, one.catalog)
    states: list[State] = ["fresh"] * 4 + ["stale", "running", "missing", "stale", "unjudged"]
    shown = dict(zip(STEP_NAMES, states, strict=True))  # and of the other recipes nothing
    assets = tuple(AssetStatus(step.name, shown.get(step.name, "left out")) for step in STEPS)
    return [CellStatus(one, assets), CellStatus(one, assets, "--reward-mode legacy"), CellStatus(other, assets)]


@pytest.mark.parametrize("width", [200, 120, 80, 72, 60, 40, 24])
def test_names_are_whole_and_lines_fit(world: World, width: int) -> None:
    shown = [line.plain for line in lines(cells(world), width)]
    for name in ("d0|RandSampler/m0", "--reward-mode legacy", LONG):
        assert any(name in line for line in shown)
    widest = max(width, len(LONG))
    assert [line for line in shown if len(line) > widest] == []
    for state in ("fresh", "stale", "running", "?"):
        assert any(state in line for line in shown)


def test_the_three_layouts(world: World) -> None:
    found = cells(world)
    wide = [line.plain for line in lines(found, 200)]
    assert wide[0].startswith("cell ") and len(wide) == 4
    middle = [line.plain for line in lines(found, 80)]
    assert middle[0].startswith("  pools  beams") and middle[1] == "d0|RandSampler/m0"
    assert middle[4].split() == ["fresh", "fresh", "fresh", "fresh", "stale", "running", "–", "stale", "?"]
    narrow = [line.plain for line in lines(found, 40)]
    assert narrow[:3] == ["d0|RandSampler/m0", "  fresh: pools, beams, v2, embed", "  stale: RL data, v2format"]
