"""What an artifact should be made from: a setting that came later leaves what was made before up to date."""

from __future__ import annotations

from pathlib import Path

from icd_assets.experiment.settings import assigned
from icd_assets.experiment.spec import spec_of
from icd_assets_tests.worlds.manifests import new_world


def test_the_choice_among_equals_is_identity_only_where_it_is_upstreams(tmp_path: Path) -> None:
    cell = new_world(tmp_path).cell()
    spec = spec_of(cell, "grpo_checkpoints")
    assert "topk_ties" not in spec.config
    assert "first_epoch_top_k" in spec.config
    assert cell.store.stale(cell.manifest_path("grpo_checkpoints"), spec) is None
    other = cell.open(
        cell.cell, assigned(cell.settings, {"grpo_checkpoints.topk_ties": "torch"}), cell.store.root, cell.catalog
    )
    changed = spec_of(other, "grpo_checkpoints")
    assert changed.config == spec.config | {"topk_ties": "torch"}
    assert cell.store.stale(cell.manifest_path("grpo_checkpoints"), changed) is not None


def test_gold_answers_are_scored_where_a_reward_or_the_user_asks(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    world.cell()
    asked = [
        spec_of(world.experiment(**variables), "rl_data").config["gt_prob"]
        for variables in ({}, {"GT_PROB": "true"}, {"REWARD_MODE": "hard_plus_gtprob_plus_rel"})
    ]
    assert asked == [False, True, True]
