"""What an artifact should be made from: a setting that came later leaves what was made before up to date."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from icd_assets.experiment.plan import Plan
from icd_assets.experiment.settings import assigned
from icd_assets.experiment.spec import spec_of
from icd_assets.lineage.as_made import as_made
from icd_assets.lineage.command import command
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


def test_beams_of_the_whole_pool_stay_up_to_date(tmp_path: Path) -> None:
    """When that was the default, manifests named it None."""
    world = new_world(tmp_path)
    cell = world.experiment()
    whole = replace(cell, settings=assigned(cell.settings, {"beam_data.expand": 0}))
    world.make(whole, "candidate_pools")
    made = world.make(whole, "beam_data")
    assert made.spec.config["expand"] is None
    assert Plan.of(whole, to="beam_data").to_make == []
    assert Plan.of(cell, to="beam_data").to_make == ["beam_data"]
    again = as_made(world.store, whole.manifest_path("beam_data"), cell.catalog)
    assert Plan.of(again, to="beam_data").to_make == []
    assert command(again, "beam_data").endswith("--set beam_data.expand=0")
