"""SPEC P.1 to P.7: numbers computed with upstream's classes, under the settings that reproduce upstream."""

from __future__ import annotations

import pytest
import torch

from icd_assets.selector.advantages import advantages, top_k
from icd_assets.selector.decoding import greedy, log_prob
from icd_assets.selector.divergence import estimate, next_beta
from icd_assets.selector.losses import pick_cross_entropy, ppo_loss, rce_loss, rce_weights
from icd_assets.selector.reward_normalization import masked_mean, normalize_rewards
from icd_assets_tests.selector import golden
from icd_assets_tests.selector.golden import ALL, LOG_PROBS, POINTERS, POOL, QUERY, REWARDS, close


def test_p1_free_run() -> None:
    policy = golden.policy()
    pointer = greedy(policy, QUERY, POOL, 2)
    assert pointer.tolist() == [[3, 1]]
    logits = policy(QUERY, POOL, pointer.unsqueeze(1))[0, 0]  # [S, K]
    assert close(logits[0], [-9.966979, -9.403910, -9.997548, 9.922761])
    assert close(logits[1], [-9.996854, -9.580302, -9.994158, -100.0])


def test_p2_teacher_forcing() -> None:
    policy, labels = golden.policy(), torch.tensor([[[2, 0]]])
    logits = policy(QUERY, POOL, labels)
    assert close(logits[0, 0, 1], [-7.301681, -7.696474, -100.0, 7.401678])
    assert close(pick_cross_entropy(logits, labels).mean(), 17.311834)
    assert close(log_prob(policy, QUERY, POOL, labels), [[-34.623669]])


def test_p3_log_probs() -> None:
    assert close(log_prob(golden.policy(), QUERY, POOL, POINTERS), LOG_PROBS.tolist())


@pytest.mark.parametrize(("temperature", "expected"), [(2.0, 25.025), (1.0, 27.067314), (0.5, 29.596205)])
def test_p3_rce_loss(temperature: float, expected: float) -> None:
    weights = rce_weights(REWARDS, ALL, temperature)
    assert close(rce_loss(LOG_PROBS, weights, ALL), expected)


def test_p3_rce_weights() -> None:
    assert close(rce_weights(REWARDS, ALL, 2.0), [[0.3915, 0.3205, 0.1440, 0.1440]])
    assert close(rce_weights(REWARDS, ALL, 0.5), [[0.6730, 0.3024, 0.0123, 0.0123]])


def test_p4_normalization_and_top_three() -> None:
    normalized = normalize_rewards(REWARDS, ALL)
    assert close(normalized, [[1.045645, 0.665411, -0.855528, -0.855528]])
    kept = top_k(normalized, ALL, 3)
    assert kept.tolist() == [[True, True, True, False]]
    values = advantages(normalized, kept, baseline="mean", scale="group")
    assert close(values, [[0.755929, 0.377965, -1.133893, 0.0]])


@pytest.mark.parametrize(
    ("kept", "ppo", "kl", "loss", "ratio"),
    [
        ([True, True, True, True], -0.051171, 0.016765, -0.049494, 0.966765),
        ([True, True, False, True], -0.001219, 0.008747, -0.000345, None),
    ],
)
def test_p5_grpo(kept: list[bool], ppo: float, kl: float, loss: float, ratio: float | None) -> None:
    mask = torch.tensor([kept])
    old = LOG_PROBS + torch.tensor([[0.1, -0.2, 0.3, 0.0]])
    values = advantages(normalize_rewards(REWARDS, ALL), mask, baseline="mean", scale="group")
    surrogate = ppo_loss(LOG_PROBS.unsqueeze(-1), old.unsqueeze(-1), values, mask)
    penalty = masked_mean(estimate("k3", LOG_PROBS - old), mask)
    assert close(surrogate.loss, ppo)
    assert close(penalty, [[kl]])
    assert close(surrogate.loss + 0.1 * penalty, [[loss]])
    if ratio is not None:
        assert close(surrogate.mean_ratio, ratio)


def test_p6_beta() -> None:
    up = next_beta(0.1, 0.2)
    down = next_beta(up, 0.001)
    assert (up, down, next_beta(down, 0.05)) == pytest.approx((0.15, 0.1, 0.1))
    assert next_beta(9.0, 1.0) == 10.0
    assert next_beta(0.0011, 0.0) == 0.001
    assert next_beta(0.0, 0.0) == 0.0


def test_p7_groups_without_variance() -> None:
    ones, all_three = torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool)
    assert normalize_rewards(ones, all_three, constant="raw").tolist() == [[1, 1, 1]]
    assert normalize_rewards(ones, all_three).tolist() == [[0, 0, 0]]
    assert advantages(ones, all_three, baseline="mean", scale="group").tolist() == [[0, 0, 0]]
    single, one = torch.tensor([[0.7]]), torch.ones(1, 1, dtype=torch.bool)
    assert advantages(single, one, baseline="mean", scale="group").isnan().all()
    assert advantages(single, one).tolist() == [[0.0]]
