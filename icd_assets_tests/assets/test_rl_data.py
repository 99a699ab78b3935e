"""RL data say whether the likelihoods of the gold answers, which upstream's trainer may read, were asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from icd_assets.assets.rl_data import _meta
from icd_assets.vlm.backend import Generation


@pytest.mark.parametrize("asked", [True, False])
def test_the_file_says_which(asked: bool) -> None:
    model = SimpleNamespace(name="m", generation=Generation(max_new_tokens=2))
    spec = SimpleNamespace(config={"gt_prob": asked}, lineage=lambda: {"asset": "rl_data"})
    run: Any = SimpleNamespace(experiment=SimpleNamespace(model=model), spec=spec)
    assert _meta(run).get("gt_prob", False) is asked
