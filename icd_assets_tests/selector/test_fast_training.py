"""RCE and GRPO compute what the plain formulas say, and no more often than they must."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from icd_assets.selector.config import LEVER_PLUS, GrpoConfig, RceConfig, SelectorConfig
from icd_assets.selector.groups import PointerGroup, collate, shuffled_batches
from icd_assets.selector.grpo import train_grpo
from icd_assets.selector.model import PointerSelectorV2, new_policy
from icd_assets.selector.policy_divergence import divergence_between, every_path, path_of
from icd_assets.selector.randomness import isolated_rng
from icd_assets.selector.rce import temperature_at, train_rce
from icd_assets.selector.training import teacher_forced

WIDTH, POOL, POINTERS = 24, 12, 7


def policy(layers: int = 2) -> PointerSelectorV2:
    shape = SelectorConfig(embedding_dim=WIDTH, hidden_dim=16, num_heads=2, num_layers=layers)
    found = new_policy(shape, 5)
    assert isinstance(found, PointerSelectorV2)
    return found.eval()


def groups(count: int = 20, shots: int = 2) -> list[PointerGroup]:
    rng = torch.Generator().manual_seed(0)
    table = torch.nn.functional.normalize(torch.randn(40, WIDTH, generator=rng), dim=-1)
    return [
        PointerGroup(
            *(row, table[row % 40], table, torch.randperm(40, generator=rng)[:POOL]),
            torch.stack([torch.randperm(POOL, generator=rng)[:shots] for _ in range(POINTERS)]),
            torch.rand(POINTERS, generator=rng),
        )
        for row in range(count)
    ]


def plain(model: PointerSelectorV2, group: PointerGroup) -> Tensor:
    """Log-probabilities [N] as upstream computes them: query and pool copied for each pointer (SPEC E.2, K.1)."""
    count = len(group.pointers)
    pool = group.table[group.pool].expand(count, -1, -1)
    logits = model(group.query.expand(count, -1), pool, group.pointers.unsqueeze(1))
    found: Tensor = logits.log_softmax(-1).gather(-1, group.pointers[:, None, :, None]).sum((1, 2, 3))
    return found


def test_with_dropout_of_each_pointer_the_losses_are_upstreams_to_five_decimals() -> None:
    """The plain trainer, a query at a time, with the same seeds: its losses, update by update, of both epochs."""
    own = {"rce_epochs": 2, "rce_lr": 1e-3, "attn_dropout": 0.1}
    every, config = groups(), RceConfig(**LEVER_PLUS["RceConfig"] | own)
    seen: list[float] = []
    history = train_rce(policy(), every, config, sft=policy())
    model = policy()
    model.set_dropout(config.dropout, config.attn_dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.rce_lr, weight_decay=config.weight_decay)
    train = every[:16]
    for epoch in range(2):
        losses = []
        for number, (i,) in enumerate(shuffled_batches(train, 1, config.seed, "rce", epoch)):
            temperature = temperature_at(config, epoch * 16 + number, 32)
            optimizer.zero_grad()
            model.train()
            with isolated_rng(config.seed, "rce", "step", epoch, number):
                loss = -((train[i].rewards / temperature).softmax(0) * plain(model, train[i])).sum()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        seen.append(sum(losses) / len(losses))
    assert [metrics["rce_loss"] for metrics in history] == pytest.approx(seen, abs=5e-6)
    shared = train_rce(policy(), every, config.model_copy(update={"dropout_per": "query"}), sft=policy())
    assert shared[0]["rce_loss"] != pytest.approx(seen[0], abs=1e-3)  # other draws


@pytest.mark.parametrize("shots", [1, 2, 3])
@pytest.mark.parametrize("layers", [1, 2])
def test_what_trains_has_the_plain_forward_and_gradient(shots: int, layers: int) -> None:
    """Attention without keys and values of each candidate, and one first step for all pointers."""
    model, batch = policy(layers), collate(groups(shots=shots), range(5))
    weights = torch.randn(5, POINTERS, shots, POOL, generator=torch.Generator().manual_seed(1))
    found = []
    for logits in (
        teacher_forced(model, batch, batch.pointers, "query"),
        teacher_forced(model, batch, batch.pointers, "pointer"),
        model(batch.query, batch.pool, batch.pointers),
    ):
        model.zero_grad()
        (logits.log_softmax(-1) * weights).sum().backward()
        found.append((logits.detach(), {name: p.grad for name, p in model.named_parameters()}))
    for logits, gradients in found[:2]:
        torch.testing.assert_close(logits, found[2][0], rtol=0, atol=2e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, found[2][1][name], rtol=1e-4, atol=2e-4, msg=name)


@pytest.mark.parametrize(("size", "shots"), [(5, 1), (12, 2), (7, 3)])
def test_a_pointer_is_found_among_all_paths(size: int, shots: int) -> None:
    every = every_path(size, shots)
    assert every is not None
    pointers = torch.stack([torch.randperm(size)[:shots] for _ in range(30)]).view(3, 10, shots)
    begun = every[path_of(every, size, pointers)][..., :-1]
    assert torch.equal(begun, pointers[..., :-1])
    assert every_path(64, 3) is None


def test_grpo_reports_the_kl_of_the_plain_formula() -> None:
    """After one update of all queries together, from another policy: KL and entropy before it."""
    every, start, other = groups(), policy(), policy()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    config = GrpoConfig(grpo_epochs=1, batch_size=16)
    metrics = train_grpo(copy.deepcopy(other), every, config, sft=start, rce=start)[0]
    batch = collate(every[:16], range(16))
    with torch.no_grad():
        kl = divergence_between(other, start, batch.query, batch.pool, 2, torch.Generator()).mean().item()
        steps = other(batch.query, batch.pool, batch.pointers).log_softmax(-1)
    assert metrics["kl"] == pytest.approx(kl, rel=1e-4) != pytest.approx(0, abs=1e-3)
    assert metrics["entropy"] == pytest.approx(-(steps.exp() * steps).sum((-1, -2)).mean().item(), rel=1e-4)


def test_each_update_projects_its_queries_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counter[str]()

    def count(name: str) -> None:
        original = getattr(PointerSelectorV2, name)

        def counting(self: PointerSelectorV2, *given: Any) -> Any:
            rows = given[0].shape[:-1].numel()
            counted[f"{name}, {'training' if self.training else 'evaluating'}"] += rows
            return original(self, *given)

        monkeypatch.setattr(PointerSelectorV2, name, counting)

    for name in ("project", "look", "encode"):
        count(name)
    start, every = policy(), groups(20)
    train_rce(copy.deepcopy(start), every, RceConfig(rce_epochs=2, batch_size=4), sft=start)
    # 16 queries train. Evaluation projects the table of 40 rows in one block of 512, for the SFT policy's
    # log-probabilities and for each epoch's validation with 4 queries.
    passes = {"project, training": 2 * 16 * POOL, "look, training": 2 * 16}
    assert counted == {**passes, "project, evaluating": 3 * 512, "look, evaluating": 16 + 2 * 4}
    counted.clear()
    train_grpo(copy.deepcopy(start), every, GrpoConfig(grpo_epochs=2, batch_size=4), sft=start, rce=start)
    # The reference once, the old policy and validation once an epoch.
    assert counted == {**passes, "project, evaluating": 5 * 512, "look, evaluating": 16 + 2 * 16 + 2 * 4}


def test_pools_are_rows_of_one_table() -> None:
    every = groups(200)
    assert {id(group.table) for group in every} == {id(every[0].table)}
    own = sum(group.pool.untyped_storage().nbytes() for group in every)
    assert own == 200 * 40 * 8  # of the permutation that the pool is cut from
    batch = collate(every, [3, 7])
    assert torch.equal(batch.pool[1], every[7].table[every[7].pool])
