"""Supervised training of the v2 selector: imitate the beams that InfoScore found (SPEC E.4).

Legend: `B` samples, `S` shots, `K` pool, `D` embedding.

Deviations from upstream:
1. The pool is the sampler's, and labels are true positions in it. Upstream's pool is the answer itself and its
   labels are ids modulo K, which carry no signal (SPEC O.2-4).
2. Beams may be weighted by their score (``beam_weighting``).
3. Float32 throughout; validation once per epoch, and the epoch of lowest validation loss is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import torch
from torch import Tensor

from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.config import BeamWeighting, SelectorConfig, SelectorShape, SftConfig
from icd_assets.selector.decoding import evaluating, greedy
from icd_assets.selector.groups import PointerGroup, collate, ordered_batches, split_by_query
from icd_assets.selector.losses import pick_cross_entropy
from icd_assets.selector.model import PointerSelector, new_policy
from icd_assets.selector.neighbors import taken
from icd_assets.selector.training import (
    EpochResult,
    Metrics,
    OnEpoch,
    Optimization,
    Resumed,
    device_of,
    ignore_epoch,
    mean_metrics,
)


@dataclass(frozen=True, slots=True, eq=False)
class SftResult:
    """The policy with the weights of the best epoch, in eval mode."""

    policy: PointerSelector
    best_epoch: int  # 0-based
    history: list[Metrics]


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Every beam of every query; of pools the rows, once per query."""

    queries: Tensor  # [Q, D]
    table: Tensor  # [n, D]
    pools: Tensor  # [Q, K] rows of it
    group: Tensor  # [M] which query
    pointers: Tensor  # [M, S]
    weights: Tensor  # [M] mean 1 within a query


def train_sft(
    groups: Sequence[PointerGroup],
    config: SftConfig,
    *,
    device: str = "cpu",
    resumed: Resumed | None = None,
    on_epoch: OnEpoch = ignore_epoch,
) -> SftResult:
    """Train a new selector. groups: one per query, all of equal K and S; ``rewards`` are the beams' scores.

    resumed: what the same training had finished when it was interrupted; the end is the same.
    """
    train, validation = split_by_query(groups, 1 - config.val_fraction)
    samples, held_out = _samples(train, config), _samples(validation, config)
    shape = {name: getattr(config, name) for name in SelectorShape.model_fields}
    width = groups[0].query.size(0)
    policy = new_policy(SelectorConfig(embedding_dim=width, **shape), config.seed).to(device)
    optimization = Optimization(policy, "sft", config, lr=config.lr, resumed=resumed)
    best = resumed.best if resumed else None
    per_epoch = math.ceil(len(samples.group) / config.batch_size)

    def train_epoch(epoch: int) -> Metrics:
        # A sample is one beam: those of a query meet in different updates. [M] → batches of [B]
        order = torch.randperm(len(samples.group), generator=torch_rng(config.seed, "shuffle", "sft", epoch))
        updates = []
        for number, chosen in enumerate(torch.split(order, config.batch_size)):
            done, total = epoch * per_epoch + number, config.epochs * per_epoch
            optimization.set_lr(config.lr * warmup_cosine(done, total, config.warmup_fraction))
            loss_of = partial(_loss, policy, samples, chosen, config.label_smoothing)
            updates.append(optimization.update(epoch, number, loss_of))
        return mean_metrics(updates) | _validate(policy, held_out, validation, config.batch_size)

    def keep_best(result: EpochResult) -> None:
        nonlocal best
        if kept_epoch(optimization.history) == result.epoch:
            best = result
        on_epoch(result)

    history = optimization.run(config.epochs, train_epoch, keep_best)
    assert best is not None
    policy.load_state_dict(best.model_state)
    return SftResult(policy.eval(), best.epoch, history)


def kept_epoch(history: Sequence[Metrics]) -> int:
    """0-based epoch of the lowest validation loss; the earliest of equals."""
    return min(range(len(history)), key=lambda epoch: history[epoch]["val_loss"])


def warmup_cosine(update: int, total: int, warmup_fraction: float) -> float:
    """Factor of the peak learning rate at one of ``total`` updates: linear warm-up, then half a cosine to 0."""
    warmup = int(total * warmup_fraction)
    if update < warmup:
        return (update + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(total - warmup, 1)))


def beam_weights(scores: Tensor, weighting: BeamWeighting, temperature: float) -> Tensor:
    """scores: [N] → weights [N] of mean 1."""
    match weighting:
        case "uniform":
            return torch.ones_like(scores)
        case "softmax":
            return (scores / temperature).softmax(0) * len(scores)  # × N: the learning rate keeps its meaning
        case _:
            assert_never(weighting)


def _samples(groups: Sequence[PointerGroup], config: SftConfig) -> _Samples:
    shapes = {(group.pool.size(0), group.pointers.size(1)) for group in groups}
    if any(group.table is not groups[0].table for group in groups):
        raise ValueError("SFT needs groups of one table")
    if len(shapes) > 1:
        raise ValueError(f"SFT needs pools and pointers of one size, found (K, S) = {sorted(shapes)}")
    sizes = torch.tensor([group.pointers.size(0) for group in groups])
    weights = [beam_weights(g.rewards, config.beam_weighting, config.beam_temperature) for g in groups]
    return _Samples(
        queries=torch.stack([group.query for group in groups]),
        table=groups[0].table,
        pools=torch.stack([group.pool for group in groups]),
        group=torch.arange(len(groups)).repeat_interleave(sizes),
        pointers=torch.cat([group.pointers for group in groups]),
        weights=torch.cat(weights),
    )


def _loss(
    policy: PointerSelector, samples: _Samples, chosen: Tensor, label_smoothing: float
) -> tuple[Tensor, Metrics]:
    device = device_of(policy)
    owner = samples.group[chosen]  # [B] the query of each beam
    pools = taken(samples.table, samples.pools[owner]).to(device)  # [B, K, D]
    pointers = samples.pointers[chosen].unsqueeze(1).to(device)  # [B, 1, S]
    logits = policy(samples.queries[owner].to(device), pools, pointers)  # [B, 1, S, K]
    per_sample = pick_cross_entropy(logits, pointers, label_smoothing).mean((1, 2))  # [B]
    loss = (samples.weights[chosen].to(device) * per_sample).mean()
    return loss, {"train_loss": loss.item()}


def _validate(
    policy: PointerSelector, samples: _Samples, groups: Sequence[PointerGroup], batch_size: int
) -> Metrics:
    """val_loss: mean cross-entropy per pick; val_first_pick: share of queries whose first pick opens a beam."""
    device, loss, hits = device_of(policy), 0.0, 0
    with evaluating(policy):
        for chosen in torch.split(torch.arange(len(samples.group)), batch_size):
            loss += _loss(policy, samples, chosen, 0.0)[0].item() * len(chosen)
        for index in ordered_batches(groups, batch_size):
            batch = collate(groups, index).to(device)
            first = greedy(policy, batch.query, batch.pool, 1)  # [B, 1]
            hits += int(((batch.pointers[:, :, 0] == first) & batch.mask).any(-1).sum())
    return {"val_loss": loss / len(samples.group), "val_first_pick": hits / len(groups)}
