"""Each stage learns in a world with a known answer, and a resumed run ends with the same bytes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.selector.config import LEVER_PLUS, GrpoConfig, RceConfig, SelectorConfig, SftConfig
from icd_assets.selector.groups import PointerGroup
from icd_assets.selector.grpo import starting_beta, train_grpo
from icd_assets.selector.metrics import METRICS
from icd_assets.selector.model import PointerSelectorV2, new_policy
from icd_assets.selector.rce import temperature_at, train_rce
from icd_assets.selector.sft import beam_weights, kept_epoch, train_sft, warmup_cosine
from icd_assets.selector.training import EpochResult, Resumed, best_epoch, constant_share
from icd_assets.selector.v3_file import read_training_state, write_training_state
from icd_assets_tests.worlds.known_answers import World

pytestmark = pytest.mark.slow

VALIDATION = range(150, 400)
SFT = SftConfig(epochs=20, lr=2e-3, hidden_dim=64, dropout=0.2)


@pytest.fixture(scope="module")
def world() -> World:
    return World(400)


@pytest.fixture(scope="module")
def sft(world: World) -> PointerSelectorV2:
    return train_sft(world.beams(range(100)), SFT).policy


@pytest.fixture(scope="module")
def groups(world: World, sft: PointerSelectorV2) -> list[PointerGroup]:
    return world.proposals(sft, range(100))


def untrained() -> PointerSelectorV2:
    return new_policy(SelectorConfig(embedding_dim=64, hidden_dim=64), 0)


def test_sft_learns_and_keeps_the_best_epoch(world: World, sft: PointerSelectorV2) -> None:
    assert world.accuracy(sft, VALIDATION) > world.accuracy(untrained(), VALIDATION) + 0.2


def test_sft_is_deterministic_and_reports_each_epoch(world: World) -> None:
    config = SFT.model_copy(update={"epochs": 3})
    seen: list[EpochResult] = []
    torch.manual_seed(0)
    first = train_sft(world.beams(range(100)), config, on_epoch=seen.append)
    torch.manual_seed(1)
    second = train_sft(world.beams(range(100)), config)
    assert [r.metrics for r in seen] == first.history == second.history
    assert set(first.history[0]) <= set(METRICS)
    losses = [metrics["val_loss"] for metrics in first.history]
    assert first.best_epoch == losses.index(min(losses))
    assert same(seen[first.best_epoch].model_state, dict(first.policy.state_dict()))
    assert same(dict(first.policy.state_dict()), dict(second.policy.state_dict()))


def test_rce_improves_a_good_policy(world: World, sft: PointerSelectorV2, groups: list[PointerGroup]) -> None:
    policy = copy.deepcopy(sft)
    history = train_rce(policy, groups, RceConfig(rce_epochs=3, batch_size=1, dropout=0.1), sft=sft)
    assert world.accuracy(policy, VALIDATION) > world.accuracy(sft, VALIDATION) + 0.05
    assert history[-1]["val_expected_reward"] > history[0]["val_expected_reward"]
    assert {"rce_loss", "val_loss", "frac_reward_zero_std", "grad_norm", "temperature"} <= set(history[0])
    assert set(history[0]) <= set(METRICS)


def test_grpo_improves_a_good_policy(world: World, sft: PointerSelectorV2, groups: list[PointerGroup]) -> None:
    policy = copy.deepcopy(sft)
    history = train_grpo(policy, groups, GrpoConfig(grpo_epochs=3, batch_size=1, grpo_lr=3e-4), sft=sft, rce=sft)
    assert world.accuracy(policy, VALIDATION) > world.accuracy(sft, VALIDATION) + 0.03
    names = ["grpo_loss", "ppo_loss", "kl_loss", "kl", "mean_ratio", "mean_advantage", "std_advantage"]
    names += ["max_advantage", "val_loss"]
    extra = ["val_expected_reward", "frac_reward_zero_std", "entropy", "clip_fraction", "kl_beta", "grad_norm"]
    assert set(names + extra) == set(history[0]) <= set(METRICS)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_rce_resumes_from_disk_to_the_same_tensors(
    tmp_path: Path, sft: PointerSelectorV2, groups: list[PointerGroup]
) -> None:
    config = RceConfig(rce_epochs=3, batch_size=3)
    groups, whole = groups[:30], list[EpochResult]()
    train_rce(copy.deepcopy(sft), groups, config, sft=sft, on_epoch=whole.append)
    torch.manual_seed(99)
    rest: list[EpochResult] = []
    write_training_state(tmp_path / "state", whole[0])
    saved = read_training_state(tmp_path / "state")
    resumed = Resumed([saved.metrics], saved, saved)
    history = train_rce(copy.deepcopy(sft), groups, config, sft=sft, resumed=resumed, on_epoch=rest.append)
    assert history == [result.metrics for result in whole]
    check_equal_ends(whole, rest)


@pytest.mark.parametrize("settings", [{}, {"old_policy": "grpo_start", "batch_size": 4}, LEVER_PLUS["GrpoConfig"]])
def test_grpo_resumes_to_the_same_tensors(
    sft: PointerSelectorV2, groups: list[PointerGroup], settings: dict[str, Any]
) -> None:
    config = GrpoConfig(**settings | {"grpo_epochs": 3, "grpo_lr": 1e-4})
    groups, whole = groups[:30], list[EpochResult]()
    train_grpo(copy.deepcopy(sft), groups, config, sft=sft, rce=sft, on_epoch=whole.append)
    torch.manual_seed(99)
    rest: list[EpochResult] = []
    resumed = Resumed([whole[0].metrics], whole[0], whole[0])
    policy = copy.deepcopy(sft)
    history = train_grpo(policy, groups, config, sft=sft, rce=sft, resumed=resumed, on_epoch=rest.append)
    assert history == [result.metrics for result in whole]
    check_equal_ends(whole, rest)


def test_sft_resumes_to_the_same_tensors(world: World) -> None:
    config = SftConfig(hidden_dim=32, epochs=4, lr=0.05, batch_size=16)  # so fast that a later epoch is worse
    groups, whole = world.beams(range(60)), list[EpochResult]()
    expected = train_sft(groups, config, on_epoch=whole.append)
    assert expected.best_epoch < 3
    for done in range(1, 5):
        torch.manual_seed(99)
        history = [result.metrics for result in whole[:done]]
        resumed = Resumed(history, whole[done - 1], whole[kept_epoch(history)])
        found = train_sft(groups, config, resumed=resumed)
        assert found.history == expected.history
        assert found.best_epoch == expected.best_epoch
        assert same(found.policy.state_dict(), expected.policy.state_dict())


def check_equal_ends(whole: list[EpochResult], rest: list[EpochResult]) -> None:
    assert [r.epoch for r in whole] == [0, 1, 2]
    assert [r.epoch for r in rest] == [1, 2]
    assert not same(whole[0].model_state, whole[1].model_state)
    for expected, found in zip(whole[1:], rest, strict=True):
        assert same(expected.model_state, found.model_state)
        assert expected.metrics == found.metrics
        assert expected.kl_beta == found.kl_beta
        for index, moments in expected.optimizer_state["state"].items():
            assert same(moments, found.optimizer_state["state"][index])


def test_training_leaves_the_global_generator_alone(sft: PointerSelectorV2, groups: list[PointerGroup]) -> None:
    before = torch.default_generator.get_state()
    train_rce(copy.deepcopy(sft), groups, RceConfig(rce_epochs=1), sft=sft)
    assert torch.equal(before, torch.default_generator.get_state())


def test_groups_without_variance_give_no_gradient_and_are_counted(
    sft: PointerSelectorV2, groups: list[PointerGroup]
) -> None:
    flat = [replace(g, rewards=torch.ones(len(g.rewards))) for g in groups[:40]]
    mixed = flat + groups[40:]
    train = sorted(mixed, key=lambda g: g.query_row)[:80]
    with_flat, without = copy.deepcopy(sft), copy.deepcopy(sft)
    config = GrpoConfig(grpo_epochs=1, train_fraction=0.8, grpo_lr=1e-4)
    history = train_grpo(with_flat, mixed, config, sft=sft, rce=sft)
    assert history[0]["frac_reward_zero_std"] == constant_share(train) >= 0.5
    kept = [g for g in train if not g.constant]
    config = config.model_copy(update={"train_fraction": (len(kept) + 0.5) / (len(kept) + 20)})
    train_grpo(without, kept + mixed[80:], config, sft=sft, rce=sft)
    assert same(dict(with_flat.state_dict()), dict(without.state_dict()))
    with pytest.raises(UserError, match="nothing to learn"):
        train_rce(copy.deepcopy(sft), flat, RceConfig(), sft=sft)


def test_a_first_step_from_epoch_start_has_ratio_one(sft: PointerSelectorV2, groups: list[PointerGroup]) -> None:
    policy = copy.deepcopy(sft)
    config = GrpoConfig(grpo_epochs=1, grpo_lr=1e-12, reference="rce")
    metrics = train_grpo(policy, groups, config, sft=untrained(), rce=sft)[0]
    assert metrics["mean_ratio"] == pytest.approx(1, abs=1e-4)
    assert metrics["kl"] == pytest.approx(0, abs=1e-4)
    far = config.model_copy(update={"old_policy": "sft", "reference": "sft"})
    metrics = train_grpo(copy.deepcopy(sft), groups, far, sft=untrained(), rce=sft)[0]
    assert abs(metrics["mean_ratio"] - 1) > 0.1
    assert metrics["kl"] > 0.1


def test_frozen_projections_stay(sft: PointerSelectorV2, groups: list[PointerGroup]) -> None:
    policy = copy.deepcopy(sft)
    config = GrpoConfig(grpo_epochs=1, grpo_lr=1e-3, freeze_backbone_in_grpo=True)
    train_grpo(policy, groups, config, sft=sft, rce=sft)
    changed = {name for name, p in policy.state_dict().items() if not torch.equal(p, sft.state_dict()[name])}
    assert not any(name.startswith(("input_proj", "query_proj", "cand_proj")) for name in changed)
    assert any(name.startswith("query_update_gate") for name in changed)
    assert all(p.requires_grad for p in policy.parameters())


def test_clip_only_contradicts_a_kl_weight() -> None:
    assert starting_beta(GrpoConfig()) == 0.15
    assert starting_beta(GrpoConfig(use_ppo_clip_only=True)) == 0
    assert starting_beta(GrpoConfig(use_ppo_clip_only=True, kl_beta=0.0)) == 0
    with pytest.raises(UserError, match=r"KL_BETA is 0\.05"):
        starting_beta(GrpoConfig(use_ppo_clip_only=True, kl_beta=0.05))


def test_layers_that_the_checkpoint_lacks_are_named(sft: PointerSelectorV2, groups: list[PointerGroup]) -> None:
    with pytest.raises(UserError, match="NUM_LAYERS is 3, but the v2 checkpoint has 1"):
        train_rce(copy.deepcopy(sft), groups, RceConfig(num_layers=3), sft=sft)


def test_a_loss_that_is_no_number_stops_training(sft: PointerSelectorV2, groups: list[PointerGroup]) -> None:
    lone = [replace(g, pointers=g.pointers[:1], rewards=g.rewards[:1]) for g in groups]
    with pytest.raises(UserError, match="epoch 1, update 1 is not a finite number"):
        config = GrpoConfig(grpo_epochs=1, **LEVER_PLUS["GrpoConfig"])
        train_grpo(copy.deepcopy(sft), lone, config, sft=sft, rce=sft)


@pytest.mark.parametrize(
    "settings",
    [
        {"rce_target": "softmax", "rce_likelihood": "pool"},
        {"rce_target": "above_mean"},
        {"rce_use_raw_reward": False},
        {"rce_use_normalized_reward": True, "normalize_method": "rank_normalize"},
        {"use_top1_only": True},
    ],
)
def test_every_rce_option_trains(
    sft: PointerSelectorV2, groups: list[PointerGroup], settings: dict[str, Any]
) -> None:
    policy = copy.deepcopy(sft)
    train_rce(policy, groups[:20], RceConfig(rce_epochs=1, batch_size=4, **settings), sft=sft)
    assert not same(dict(policy.state_dict()), dict(sft.state_dict()))


@pytest.mark.parametrize(
    "settings",
    [
        {"kl": "k1", "ratio_level": "step"},
        {"kl": "k2", "ratio_level": "sequence_mean", "scale_rewards": "batch"},
        {"kl": "stored_prefixes_forward", "use_rank_advantage": True, "clip_epsilon_high": 0.3},
        {"reward_source": "normalized", "later_epochs_top_k": 2, "entropy_bonus": 0.01, "batch_size": 4},
    ],
)
def test_every_grpo_option_trains(
    sft: PointerSelectorV2, groups: list[PointerGroup], settings: dict[str, Any]
) -> None:
    policy = copy.deepcopy(sft)
    train_grpo(policy, groups[:20], GrpoConfig(grpo_epochs=2, grpo_lr=1e-4, **settings), sft=sft, rce=sft)
    assert not same(dict(policy.state_dict()), dict(sft.state_dict()))


def test_schedules() -> None:
    config = RceConfig(rce_temp_start=2.0, rce_temp_end=0.5)
    assert [temperature_at(config, step, 4) for step in range(4)] == pytest.approx([2, 1.5, 1, 0.5])
    assert [round(warmup_cosine(step, 20, 0.1), 3) for step in (0, 1, 2, 11, 20)] == [0.5, 1, 1, 0.5, 0]
    assert best_epoch([{"val_expected_reward": r} for r in (1.0, 1.4, 1.4, 1.2)]) == 1
    assert beam_weights(torch.tensor([1.0, 0.0]), "uniform", 0.1).tolist() == [1, 1]
    assert beam_weights(torch.tensor([1.0, 0.0]), "softmax", 1.0).tolist() == pytest.approx(
        [1.462, 0.538], abs=1e-3
    )
