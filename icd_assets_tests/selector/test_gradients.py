"""Every objective's gradient against enumeration, in float64: pools of 6, pointers of 2, all 30 of them.

A reference is written down from the policy's log-probabilities alone, one pointer and one candidate at a time, and
by the score function: ∇E[R] = Σ π·R·∇log π over everything that can be chosen. Finite differences check it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from icd_assets.selector.config import SelectorConfig, SelectorTraining
from icd_assets.selector.groups import DenseGroup, RewardGroup
from icd_assets.selector.labels import LabelTensors, TrainingLabels, label_tensors
from icd_assets.selector.learn import _loss
from icd_assets.selector.losses import expected_reward
from icd_assets.selector.model import ARCHITECTURES, PointerSelector, new_policy

K, D = 6, 5
POINTERS = list(permutations(range(K), 2))
QUERIES = range(3)  # the last validates
POOLS = [tuple(range(10 + 7 * q, 10 + 7 * q + K)) for q in QUERIES]
RNG = torch.Generator().manual_seed(0)
EMBEDDINGS = torch.randn(40, D, generator=RNG, dtype=torch.float64)
FIRST = torch.rand(3, K, generator=RNG)  # labels of single candidates
SECOND = torch.rand(3, K, K, generator=RNG)  # [query, first pick, second pick]
REWARDS = 2 * torch.rand(3, K, K, generator=RNG)

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


FOLLOWED = ((2, 4), (2,), (4,))  # by query


def policy_of(architecture: Any) -> PointerSelector:
    config = SelectorConfig(
        architecture=architecture, embedding_dim=D, hidden_dim=4, aspects=2, dropout=0, attn_dropout=0
    )
    return new_policy(config, 1).double()


def settings(**fields: Any) -> SelectorTraining:
    return SelectorTraining(**fields)


def tensors(labels: TrainingLabels, config: SelectorTraining) -> LabelTensors:
    train = label_tensors(labels, config, torch.device("cpu"))[0]
    kinds = {name: getattr(train, name) for name in ("dense", "pointers", "beams")}
    return replace(train, **{k: v and replace(v, values=v.values.double()) for k, v in kinds.items()})


def dense(q: int) -> DenseGroup:
    """Singles, and what follows some picks; not as many for every query."""
    steps: list[tuple[tuple[int, ...], list[float | None]]] = [((), [*FIRST[q].tolist()])]
    for pick in FOLLOWED[q]:
        steps.append(((pick,), [None if k == pick else v for k, v in enumerate(SECOND[q, pick].tolist())]))
    return DenseGroup.of(q, POOLS[q], steps)


def stored(q: int, pointers: list[tuple[int, int]]) -> RewardGroup:
    rewards = torch.stack([REWARDS[q, a, b] for a, b in pointers])
    return RewardGroup(q, POOLS[q], torch.tensor(pointers), rewards)


def log_pi(policy: PointerSelector, q: int) -> tuple[Tensor, Tensor]:
    """log π of the first pick [K], and of the second given the first [K, K], −∞ on the diagonal."""
    pointers = torch.tensor([POINTERS])
    logits = policy(EMBEDDINGS[q][None], EMBEDDINGS[list(POOLS[q])][None], pointers)[0].log_softmax(
        -1
    )  # [30, 2, K]
    second = torch.stack([logits[POINTERS.index((a, (a + 1) % K)), 1] for a in range(K)])
    return logits[0, 0], second


def gradient(policy: PointerSelector, loss: Tensor) -> Tensor:
    found = torch.autograd.grad(loss, list(policy.parameters()), allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(policy.parameters(), found, strict=True)]
    return torch.cat([part.flatten() for part in parts])


def check(policy: PointerSelector, labels: LabelTensors, config: SelectorTraining, expected: Tensor) -> None:
    chosen = torch.arange(len(labels))

    def loss() -> Tensor:
        return _loss(policy, labels, chosen, config)[0]

    found = gradient(policy, loss())
    assert found.abs().max() > 1e-4  # not a comparison of nothing with nothing
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9)
    check_differences(policy, loss, found)


def check_differences(policy: PointerSelector, loss: Callable[[], Tensor], found: Tensor) -> None:
    """Central differences along random directions."""
    rng, step = torch.Generator().manual_seed(5), 1e-5
    flat = torch.nn.utils.parameters_to_vector(policy.parameters()).detach().clone()
    for _ in range(4):
        direction = torch.randn(len(flat), generator=rng, dtype=torch.float64)
        values = []
        for sign in (1, -1):
            torch.nn.utils.vector_to_parameters(flat + sign * step * direction, policy.parameters())
            values.append(loss().item())
        torch.nn.utils.vector_to_parameters(flat, policy.parameters())
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx((found @ direction).item(), rel=1e-5, abs=1e-6)


def steps(q: int, policy: PointerSelector) -> list[tuple[int, Tensor, Tensor]]:
    """(picks, log π [m], labels [m]) of each label list of :func:`dense`, over the candidates that have one."""
    first, second = log_pi(policy, q)
    found = [(0, first, FIRST[q].double())]
    for pick in FOLLOWED[q]:
        others = [k for k in range(K) if k != pick]
        found.append((1, second[pick, others], SECOND[q, pick, others].double()))
    return found


def objective(kind: str, policy: PointerSelector, log_probs: Tensor, values: Tensor) -> Tensor:
    """The gradient by its definition; every candidate's ∇log π by itself."""
    chances = log_probs.detach().exp()
    each = torch.stack([gradient(policy, value) for value in log_probs])
    ahead = (chances * values) @ each  # ∇ Σ π·v
    match kind:
        case "expectation":
            return -ahead
        case "log_expectation":
            return -ahead / (chances * values).sum()
        case "cross_entropy":
            weights = [(value / 0.05).exp() for value in values]
            return -torch.stack([w / sum(weights) for w in weights]) @ each
        case "marginal":
            good = values >= 0.9 * values.max()
            return -(chances * good) @ each / (chances * good).sum()
    raise AssertionError(kind)


@pytest.fixture(autouse=True)
def _graphs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference asks one graph for many gradients."""
    real = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: real(*a, **k, retain_graph=True))


@every_architecture
@pytest.mark.parametrize("kind", ["expectation", "log_expectation", "cross_entropy", "marginal"])
def test_dense_objectives(architecture: Any, kind: Any) -> None:
    config = settings(dense_loss=kind, step_weights=[1.0, 0.5], temperature=0.05)
    labels = tensors(TrainingLabels(EMBEDDINGS, [dense(q) for q in QUERIES], held_out={2}), config)
    policy = policy_of(architecture)
    expected = torch.zeros(())
    for q in (0, 1):
        for picks, log_probs, values in steps(q, policy):
            weight = 1.0 if picks == 0 else 0.5 / len(FOLLOWED[q])  # a mean over prefixes
            expected = expected + weight / 2 * objective(kind, policy, log_probs, values)
    check(policy, labels, config, expected)


@every_architecture
def test_expected_reward_of_all_pointers_is_that_of_the_policy(architecture: Any) -> None:
    """Renormalizing over everything changes nothing: ∇E[R] = Σ π·R·∇log π over all 30 pointers."""
    groups = [stored(q, POINTERS) for q in QUERIES]
    config = settings()
    labels = tensors(TrainingLabels(EMBEDDINGS, pointers=groups, held_out={2}), config)
    policy = policy_of(architecture)
    expected = torch.zeros(())
    for q in (0, 1):
        first, second = log_pi(policy, q)
        for a, b in POINTERS:
            whole = first[a] + second[a, b]
            expected = expected - whole.detach().exp() * REWARDS[q, a, b] * gradient(policy, whole) / 2
    check(policy, labels, config, expected)


@every_architecture
def test_expected_reward_of_stored_pointers_and_of_their_prefixes(architecture: Any) -> None:
    some = [(0, 1), (3, 2), (5, 0), (2, 3), (0, 4)]
    pairs = [stored(q, some[: 5 - q]) for q in QUERIES]  # groups of different size are padded
    singles = [RewardGroup(q, POOLS[q], torch.tensor([[0], [3], [5]]), FIRST[q, [0, 3, 5]]) for q in QUERIES]
    config = settings(pointer_weight=2.0, shot_weights=[0.25, 1.0])
    labels = tensors(TrainingLabels(EMBEDDINGS, pointers=[*pairs, *singles], held_out={2}), config)
    policy = policy_of(architecture)
    expected = torch.zeros(())
    for q in (0, 1):
        first, second = log_pi(policy, q)
        whole = [first[a] + second[a, b] for a, b in some[: 5 - q]]
        for weight, log_probs, rewards in (
            (2.0, whole, [REWARDS[q, a, b] for a, b in some[: 5 - q]]),
            (0.5, [first[k] for k in (0, 3, 5)], [FIRST[q, k] for k in (0, 3, 5)]),
        ):
            chance = [value.detach().exp() for value in log_probs]
            mass = sum(chance)
            mean = sum(c / mass * r for c, r in zip(chance, rewards, strict=True))
            for c, r, value in zip(chance, rewards, log_probs, strict=True):
                # Of a normalized chance: ∇(c/mass) = c/mass·(∇log c − Σ c'/mass·∇log c').
                expected = expected - weight / 2 * c / mass * (r - mean) * gradient(policy, value)
    check(policy, labels, config, expected)


@every_architecture
def test_all_kinds_of_labels_add_up(architecture: Any) -> None:
    beams = [stored(q, [(1, 0), (1, 2)]) for q in QUERIES]
    pointers = [stored(1, [(0, 1), (3, 2), (5, 0)]), stored(2, [(0, 1)])]  # query 0 has none
    config = settings(dense_loss="log_expectation", beam_weight=0.3, pointer_weight=0.7)
    everything = [dense(q) for q in QUERIES]
    policy = policy_of(architecture)

    def of(**kinds: Any) -> Tensor:
        labels = tensors(TrainingLabels(EMBEDDINGS, **kinds, held_out={2}), config)
        return gradient(policy, _loss(policy, labels, torch.arange(len(labels)), config)[0])

    whole = tensors(TrainingLabels(EMBEDDINGS, everything, pointers, beams, held_out={2}), config)
    expected = of(dense=everything) + of(pointers=pointers) + of(beams=beams)
    check(policy, whole, config, expected)
    imitated = torch.zeros(())
    for q in (0, 1):
        first, second = log_pi(policy, q)
        for a, b in [(1, 0), (1, 2)]:
            imitated = imitated - 0.3 * gradient(policy, first[a] + second[a, b]) / 8
    assert torch.allclose(of(beams=beams), imitated, rtol=1e-6, atol=1e-9)


def test_expected_reward_ignores_padding() -> None:
    log_probs = torch.tensor([[-1.0, -2.0, -0.5]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    loss = expected_reward(log_probs, torch.tensor([[1.0, 3.0, 100.0]]), mask)
    chance = torch.tensor([-1.0, -2.0]).exp() / torch.tensor([-1.0, -2.0]).exp().sum()
    assert loss.item() == pytest.approx(-(chance[0] + 3 * chance[1]).item())
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None and log_probs.grad[0, 2] == 0
