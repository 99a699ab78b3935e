"""Losses, advantages and divergences against independent computations."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.nn import functional

from icd_assets.selector.advantages import advantages, top_k
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.decoding import log_prob, sample
from icd_assets.selector.divergence import entropy, estimate, kl_divergence
from icd_assets.selector.losses import dense_loss, pick_cross_entropy, ppo_loss, rce_loss, rce_weights
from icd_assets.selector.model import PointerSelectorV2, new_policy
from icd_assets.selector.reward_normalization import normalize_rewards

REWARDS = torch.tensor([[2.0, 1.0, 0.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
MASK = torch.tensor([[True, True, True, False], [True, True, True, True]])
TINY = SelectorConfig(embedding_dim=5, hidden_dim=5, dropout=0.0, attn_dropout=0.0)


class Tiny(NamedTuple):
    """K = 6 and S = 2, so that all 30 pointers can be enumerated."""

    policy: PointerSelectorV2
    query: torch.Tensor  # [1, D]
    pool: torch.Tensor  # [1, 6, D]
    pointers: torch.Tensor  # [1, 30, 2]
    rewards: torch.Tensor  # [1, 30]


@pytest.fixture
def world() -> Tiny:
    rng = torch.Generator().manual_seed(2)
    query, pool = torch.randn(1, 5, generator=rng) * 0.3, torch.randn(1, 6, 5, generator=rng)
    every = torch.tensor([list(permutations(range(6), 2))])
    return Tiny(new_policy(TINY, 0), query, pool, every, torch.rand(1, 30, generator=rng))


def gradient(policy: PointerSelectorV2, loss: torch.Tensor) -> torch.Tensor:
    gradients = torch.autograd.grad(loss, list(policy.parameters()), retain_graph=True)
    return torch.cat([g.flatten() for g in gradients])


def test_sampled_gradient_is_that_of_the_expected_reward(world: Tiny) -> None:
    """∇E[R] over all pointers equals the mean policy gradient of sampled groups, baseline leave-one-out."""
    policy, query, pool, every, rewards = world
    exact = gradient(policy, -(log_prob(policy, query, pool, every).exp() * rewards).sum())
    count, size = 20_000, 5
    uniforms = torch.rand(1, count * size, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = sample(policy, query, pool, uniforms).pointers  # [1, count·size, 2]
    index = drawn[..., 0] * 5 + drawn[..., 1] - (drawn[..., 1] > drawn[..., 0]).long()
    assert torch.equal(every[0, index[0]], drawn[0])
    groups = rewards[0, index[0]].view(count, size)
    everyone = torch.ones_like(groups, dtype=torch.bool)
    values = advantages(groups, everyone, baseline="leave_one_out", scale="none").view(1, -1)
    weight = torch.zeros(1, 30).scatter_add(1, index, values / values.numel())  # the gradient is linear in these
    sampled = gradient(policy, -(log_prob(policy, query, pool, every) * weight).sum())
    assert functional.cosine_similarity(sampled, exact, dim=0) > 0.995
    assert sampled.norm().item() == pytest.approx(exact.norm().item(), rel=0.05)


def test_at_ratio_one_the_clipped_objective_is_the_policy_gradient(world: Tiny) -> None:
    policy, query, pool, every, rewards = world
    everyone = torch.ones(1, 30, dtype=torch.bool)
    values = advantages(rewards, everyone)
    for level, factor in (("sequence", 1.0), ("sequence_mean", 0.5), ("step", 0.5)):
        steps = policy(query, pool, every).log_softmax(-1).gather(3, every.unsqueeze(-1)).squeeze(-1)
        surrogate = ppo_loss(steps, steps.detach(), values, everyone, level=level)  # type: ignore[arg-type]
        plain = -(values * steps.sum(-1)).mean()
        assert torch.allclose(gradient(policy, surrogate.loss), factor * gradient(policy, plain), atol=1e-5)
        assert surrogate.mean_ratio.item() == pytest.approx(1)
        assert surrogate.clip_fraction.item() == 0


def test_clipping_stops_the_gradient_on_the_right_side_only() -> None:
    new = torch.tensor([[[0.5], [0.5], [-0.5], [-0.5]]], requires_grad=True)  # ratios 1.65, 1.65, .61, .61
    values = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    result = ppo_loss(new, torch.zeros(1, 4, 1), values, torch.ones(1, 4, dtype=torch.bool))
    result.loss.backward()
    assert new.grad is not None
    assert (new.grad.flatten() != 0).tolist() == [False, True, True, False]
    assert result.clip_fraction.item() == 0.5
    wide = ppo_loss(new, torch.zeros(1, 4, 1), values, torch.ones(1, 4, dtype=torch.bool), 0.2, 0.9)
    assert wide.clip_fraction.item() == 0.25


def test_padding_changes_nothing() -> None:
    short, only = REWARDS[:1, :3], MASK[:1, :3]
    for method in ("z_score_clamp", "z_score", "rank_normalize"):
        padded = normalize_rewards(REWARDS, MASK, method)  # type: ignore[arg-type]
        assert torch.allclose(padded[:1, :3], normalize_rewards(short, only, method))  # type: ignore[arg-type]
        assert padded[0, 3] == 0
    for scale in ("none", "group"):
        padded = advantages(REWARDS, MASK, scale=scale)  # type: ignore[arg-type]
        assert torch.allclose(padded[:1, :3], advantages(short, only, scale=scale))  # type: ignore[arg-type]
    log_probs = torch.tensor([[-1.0, -2.0, -3.0, 50.0], [-1.0, -2.0, -3.0, -4.0]])
    for target in ("softmax", "above_mean", "tilted"):
        for likelihood in ("pool", "group"):
            both = rce_loss(
                log_probs[:1],
                rce_weights(REWARDS[:1], MASK[:1], 1.0, target, log_probs[:1]),
                MASK[:1],
                likelihood,  # type: ignore[arg-type]
            )
            real = rce_loss(
                log_probs[:1, :3],
                rce_weights(short, only, 1.0, target, log_probs[:1, :3]),
                only,
                likelihood,  # type: ignore[arg-type]
            )
            assert torch.allclose(both, real)


def test_advantage_options() -> None:
    three = MASK[:1, :3]
    rewards = torch.tensor([[2.0, 1.0, 0.0]])
    assert advantages(rewards, three, baseline="mean").tolist() == [[1, 0, -1]]
    assert advantages(rewards, three).tolist() == [[1.5, 0, -1.5]]
    assert advantages(rewards, three, rank=True).tolist() == [[1, 0, -1]]
    assert advantages(rewards * 10, three, clip=5).tolist() == [[5, 0, -5]]
    near_tie = torch.tensor([[0.01, 0.0, -0.01]])
    assert advantages(near_tie, three, baseline="mean", scale="group", std_floor=0.1)[
        0, 0
    ].item() == pytest.approx(0.1)
    batch = advantages(torch.cat((rewards, torch.zeros(1, 3))), three.repeat(2, 1), baseline="mean", scale="batch")
    assert batch[0].tolist() == pytest.approx([2**0.5, 0, -(2**0.5)])


def test_ties_share_their_rank() -> None:
    ranks = normalize_rewards(
        torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.ones(1, 4, dtype=torch.bool), "rank_normalize"
    )
    assert ranks.tolist()[0] == pytest.approx([2 / 3, 2 / 3, -2 / 3, -2 / 3])


def test_top_k_takes_the_first_of_equals_and_no_padding() -> None:
    assert top_k(REWARDS, MASK, 2).tolist() == [[True, True, False, False], [True, True, False, False]]
    assert torch.equal(top_k(REWARDS, MASK, 0), MASK)
    assert torch.equal(top_k(REWARDS, MASK, 9), MASK)


def test_top_k_takes_of_equals_what_torch_takes_whatever_the_batch() -> None:
    """What upstream's ``rewards.topk`` kept, as recorded: neither the first nor the last of equal rewards."""
    golden = json.loads(Path(__file__).with_name("topk_ties.json").read_text(encoding="utf-8"))["cases"]
    groups = [torch.tensor(case["rewards"]) for case in golden]
    rewards = torch.nn.utils.rnn.pad_sequence(groups, batch_first=True)  # [B, N]
    mask = torch.nn.utils.rnn.pad_sequence(
        [torch.ones(len(g), dtype=torch.bool) for g in groups], batch_first=True
    )
    kept = top_k(rewards, mask, 3, "torch")
    assert [row.nonzero().squeeze(-1).tolist() for row in kept] == [case["kept_on_a_cpu"] for case in golden]
    alone = [top_k(g.unsqueeze(0), torch.ones(1, len(g), dtype=torch.bool), 3, "torch")[0] for g in groups]
    assert [row.nonzero().squeeze(-1).tolist() for row in alone] == [case["kept_on_a_cpu"] for case in golden]
    first = top_k(rewards, mask, 3)
    assert (first != kept).any(-1).sum() == 7
    assert torch.equal(top_k(rewards, mask, 99, "torch"), mask)
    assert torch.equal(top_k(rewards, mask, 0, "torch"), mask)


def test_top_k_after_advantages_leaves_negatives_out_of_the_mean() -> None:
    values = advantages(REWARDS[:1], MASK[:1])
    kept = top_k(REWARDS[:1], MASK[:1], 1)
    assert values[kept].tolist() == [1.5]


def test_rce_targets() -> None:
    log_probs = torch.tensor([[-1.0, -4.0, -9.0]])
    rewards, mask = torch.tensor([[0.0, 2.0, 2.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert rce_weights(rewards, mask, 1.0, "above_mean").tolist()[0] == pytest.approx([0, 0.5, 0.5])
    assert rce_weights(torch.ones(1, 3), mask, 1.0, "above_mean").tolist() == [[0, 0, 0]]
    tilted = rce_weights(rewards, mask, 0.5, "tilted", log_probs)
    assert torch.allclose(tilted, torch.softmax(torch.tensor([[-1.0, 0.0, -5.0]]), -1))
    with pytest.raises(ValueError, match="before RCE"):
        rce_weights(rewards, mask, 0.5, "tilted")


def test_tilted_target_in_the_group_asks_for_no_change_without_a_preference() -> None:
    log_probs = torch.tensor([[-1.0, -4.0, -9.0]], requires_grad=True)
    mask = torch.ones(1, 3, dtype=torch.bool)
    weights = rce_weights(torch.ones(1, 3), mask, 0.5, "tilted", log_probs.detach())
    rce_loss(log_probs, weights, mask, "group").backward()
    assert log_probs.grad is not None
    assert log_probs.grad.abs().max() < 1e-6


def test_label_smoothing_spares_chosen_candidates() -> None:
    logits, labels = torch.tensor([[[[1.0, 2.0, 3.0, -100.0]]]]), torch.tensor([[[2]]])
    expected = functional.cross_entropy(logits[0, 0, :, :3], torch.tensor([2]), label_smoothing=0.3)
    assert torch.allclose(pick_cross_entropy(logits, labels, 0.3).mean(), expected)


def test_exact_divergences_equal_what_samples_estimate(world: Tiny) -> None:
    policy, query, pool, every, _ = world
    reference = new_policy(TINY, 1)
    new = log_prob(policy, query, pool, every).detach()
    ref = log_prob(reference, query, pool, every).detach()
    true_kl = (new.exp() * (new - ref)).sum()
    full = [model(query, pool, every).log_softmax(-1).detach() for model in (policy, reference)]
    by_prefix = torch.stack(
        [
            kl_divergence("exact", *[f[:, i : i + 1] for f in full], every[:, i : i + 1], MASK[:1, :1])
            for i in range(30)
        ]
    )
    assert torch.allclose((new.exp() * by_prefix).sum(), true_kl, atol=1e-5)
    forward = kl_divergence("exact_forward", *full, every, torch.ones(1, 30, dtype=torch.bool))
    backward = kl_divergence("exact", full[1], full[0], every, torch.ones(1, 30, dtype=torch.bool))
    assert torch.allclose(forward, backward)
    assert (new.exp() * estimate("k1", new - ref)).sum().item() == pytest.approx(true_kl.item(), abs=1e-5)
    other = (ref.exp() * (ref - new)).sum()
    assert (ref.exp() * estimate("k3", new - ref)).sum().item() == pytest.approx(other.item(), abs=1e-5)
    assert estimate("k2", torch.tensor(0.2)).item() == pytest.approx(0.02)


def test_entropy_of_an_even_policy() -> None:
    even = torch.zeros(1, 2, 1, 8).log_softmax(-1)
    assert entropy(even, torch.tensor([[True, False]])).item() == pytest.approx(torch.tensor(8.0).log().item())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("expectation", -(0.5 * 0.8 + 0.25 * 0.2)),
        ("log_expectation", -math.log(0.5 * 0.8 + 0.25 * 0.2 + 0.25 * 1e-6)),
        ("marginal", -math.log(0.5)),
        ("cross_entropy", math.log(4) - math.log(2) / (1 + math.exp(-0.6 / 0.1) + math.exp(-0.8 / 0.1))),
    ],
)
def test_dense_losses_by_hand(kind: Any, expected: float) -> None:
    """Three labels; the fourth candidate has none and takes no part."""
    log_probs = torch.tensor([0.5, 0.25, 0.25, 0.0]).log().requires_grad_()
    loss = dense_loss(log_probs, torch.tensor([0.8, 0.2, 0.0, 0.0]), kind, 0.1)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None and torch.isfinite(log_probs.grad).all()
    assert log_probs.grad[3] == 0


@pytest.mark.parametrize("kind", ["expectation", "log_expectation", "marginal"])
def test_equal_labels_teach_nothing(kind: Any) -> None:
    logits = torch.tensor([0.3, -1.0, 2.0], requires_grad=True)
    for value in (0.0, 0.7):
        (gradient,) = torch.autograd.grad(
            dense_loss(logits.log_softmax(-1), torch.full((3,), value), kind), logits
        )
        assert torch.allclose(gradient, torch.zeros(3), atol=1e-6)


def test_labels_within_a_tenth_of_the_best_are_marginal() -> None:
    log_probs = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    loss = dense_loss(log_probs, torch.tensor([1.0, 0.91, 0.89, 0.0]), "marginal")
    assert loss.exp().item() == pytest.approx(1 / 0.3)
