"""Which selector learns that the second pick should show what the first does not."""

from __future__ import annotations

from typing import Any

import pytest

from icd_assets.selector.config import SelectorTraining
from icd_assets.selector.learn import train_selector
from icd_assets.selector.model import PointerSelector
from icd_assets_tests.worlds.two_halves import TwoHalves

pytestmark = pytest.mark.slow

TRAIN, UNSEEN = range(200), range(200, 600)


def trained(world: TwoHalves, architecture: Any) -> tuple[PointerSelector, PointerSelector]:
    """(on singles, then on second picks too)"""
    config = SelectorTraining(architecture=architecture, hidden_dim=16, aspects=4, updates=500, batch_size=32)
    config = config.model_copy(update={"dense_loss": "log_expectation", "lr": 1e-2, "dropout": 0.1})
    singles = train_selector(world.training(TRAIN), config).policy
    return singles, train_selector(world.training(TRAIN, singles), config).policy


def test_coverage_learns_to_complement_and_v2_does_not() -> None:
    world = TwoHalves.draw(600)
    assert world.ceiling(UNSEEN) > 0.85
    singles, coverage = trained(world, "coverage")
    v2 = trained(world, "v2")[1]
    reached = world.accuracy(coverage, UNSEEN)
    assert reached > 0.97 * world.ceiling(UNSEEN)
    assert reached > world.accuracy(singles, UNSEEN)
    assert reached > world.accuracy(v2, UNSEEN) + 0.2
