"""KL under the policy against enumeration of every pointer, values and gradients."""

from __future__ import annotations

import copy
from itertools import permutations

import pytest
import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.experiment.settings import assigned, read_settings
from icd_assets.selector import policy_divergence as module
from icd_assets.selector.config import GrpoConfig, SelectorConfig
from icd_assets.selector.decoding import log_prob
from icd_assets.selector.divergence import stored_divergence
from icd_assets.selector.groups import PointerGroup
from icd_assets.selector.grpo import train_grpo
from icd_assets.selector.model import PointerSelectorV2, new_policy
from icd_assets.selector.policy_divergence import divergence_between, paths_of, policy_divergence

SHAPE = SelectorConfig(hidden_dim=4, num_heads=1, embedding_dim=5, dropout=0, attn_dropout=0)
RNG = torch.Generator()


def world(size: int = 6, queries: int = 2) -> tuple[PointerSelectorV2, PointerSelectorV2, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    query, pool = torch.randn(queries, 5, generator=rng) * 0.3, torch.randn(queries, size, 5, generator=rng)
    return new_policy(SHAPE, 0).eval(), new_policy(SHAPE, 1).eval(), query, pool


def enumerated(
    policy: PointerSelectorV2, other: PointerSelectorV2, query: Tensor, pool: Tensor, shots: int
) -> Tensor:
    """Σ over all pointers of π · (log π − log π_ref), [B]: nothing of the code under test."""
    every = torch.tensor([list(permutations(range(pool.size(1)), shots))]).expand(len(query), -1, -1)
    new, ref = log_prob(policy, query, pool, every), log_prob(other, query, pool, every)
    return (new.exp() * (new - ref.detach())).sum(1)


def gradient(policy: PointerSelectorV2, value: Tensor) -> Tensor:
    """Of all parameters; of one shot the gate is not part."""
    every = list(policy.parameters())
    found = torch.autograd.grad(value, every, retain_graph=True, allow_unused=True)
    return torch.cat(
        [torch.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(every, found, strict=True)]
    )


@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize("shots", [1, 2, 3])
def test_value_and_gradient_are_those_of_enumeration(size: int, shots: int) -> None:
    policy, other, query, pool = world(size)
    found = divergence_between(policy, other, query, pool, shots, RNG)
    true = enumerated(policy, other, query, pool, shots)
    assert true.min() > 0.01
    assert torch.allclose(found, true, atol=1e-5)
    assert torch.allclose(gradient(policy, found.mean()), gradient(policy, true.mean()), atol=1e-5)


def test_drawn_paths_give_value_and_gradient_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENUMERATED", 5)
    monkeypatch.setattr(module, "DRAWN", 20_000)
    policy, other, query, pool = world()
    rng = torch.Generator().manual_seed(0)
    paths = paths_of(policy, query, pool, 3, rng)
    assert paths.drawn and paths.pointers.shape == (2, 20_000, 3)
    found = divergence_between(policy, other, query, pool, 3, rng)
    true = enumerated(policy, other, query, pool, 3)
    assert torch.allclose(found, true, rtol=0.02)
    expected = gradient(policy, true.mean())
    apart = gradient(policy, found.mean()) - expected
    assert apart.norm() < 0.05 * expected.norm()
    held = policy_divergence(
        *[model(query, pool, paths.pointers).log_softmax(-1) for model in (policy, other)],
        module.Paths(paths.pointers, drawn=True),
    )
    assert torch.allclose(held, true, rtol=0.02)


def test_what_stored_prefixes_average_is_another_number() -> None:
    """Stored pointers that the policy hardly visits: that is why the name is not "exact"."""
    policy, other, query, pool = world()
    every = torch.tensor([list(permutations(range(6), 2))]).expand(2, -1, -1)
    rare = log_prob(policy, query, pool, every).argsort(dim=1)[:, :3]
    pointers = every.gather(1, rare.unsqueeze(-1).expand(-1, -1, 2))
    full = [model(query, pool, pointers).log_softmax(-1) for model in (policy, other)]
    stored = stored_divergence("stored_prefixes", *full, pointers, torch.ones(2, 3, dtype=torch.bool))
    true = enumerated(policy, other, query, pool, 2).mean()
    assert abs(stored.item() / true.item() - 1) > 0.05


def test_paths_are_all_there_are_as_long_as_they_are_few() -> None:
    policy, _, query, pool = world(6)
    assert paths_of(policy, query, pool, 1, RNG).pointers.shape == (2, 1, 1)
    assert paths_of(policy, query, pool, 2, RNG).pointers.shape == (2, 6, 2)
    assert paths_of(policy, query, pool, 4, RNG).pointers.shape == (2, 120, 4)
    assert paths_of(policy, query, pool, 6, RNG).drawn


@pytest.mark.parametrize("shots", [2, 5])
def test_the_adaptive_weight_compares_the_kl_under_the_policy(shots: int) -> None:
    """The first update's KL is 0, the second's is what enumeration says of the weights after the first."""
    policy, _, query, pool = world(6, queries=4)
    pointers = torch.tensor(list(permutations(range(6), shots)))[::7][:6]
    groups = [
        PointerGroup(
            *(row, query[row], pool[row], torch.arange(len(pool[row]))),
            *(pointers, torch.arange(len(pointers)) % 2.0),
        )
        for row in range(4)
    ]
    sft, trained = copy.deepcopy(policy), copy.deepcopy(policy)
    config = GrpoConfig(grpo_epochs=2, grpo_lr=0.02, batch_size=8, train_fraction=0.5)
    states = []
    history = train_grpo(
        trained, groups, config, sft=sft, rce=sft, on_epoch=lambda result: states.append(result.model_state)
    )
    assert history[0]["kl"] == pytest.approx(0, abs=1e-6)
    trained.load_state_dict(states[0])
    after_one = enumerated(trained.eval(), sft, query[:2], pool[:2], shots).mean().item()
    assert after_one > 1e-3
    assert history[1]["kl"] == pytest.approx(after_one, rel=1e-3 if shots == 2 else 0.5)


@pytest.mark.parametrize("name", ["exact", "exact_forward"])
def test_the_older_name_is_refused_with_the_newer_ones(name: str) -> None:
    with pytest.raises(UserError, match="stored_prefixes"):
        assigned(read_settings(None), {"grpo_checkpoints.kl": name})
