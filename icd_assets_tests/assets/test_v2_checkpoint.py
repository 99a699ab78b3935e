"""v2_checkpoint: what is refused before it trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.assets.build import Run, build
from icd_assets.errors import UserError
from icd_assets.experiment.settings import assigned
from icd_assets_tests.worlds.manifests import new_world


def test_more_heads_than_readers_take_are_refused_by_the_step_itself(tmp_path: Path) -> None:
    """The UI runs a step without a plan: it would train with 4 heads what everything after it reads with 1."""
    world = new_world(tmp_path)
    e = world.experiment()
    for asset in ("candidate_pools", "beam_data"):
        world.make(e, asset)
    settings = assigned(e.settings, {"v2_checkpoint.num_heads": 4})
    with pytest.raises(UserError, match=r"num_heads is 4, but no checkpoint says so and every reader takes 1"):
        build(e.__class__(e.cell, settings, world.store, e.catalog), "v2_checkpoint", Run("run-2"))
