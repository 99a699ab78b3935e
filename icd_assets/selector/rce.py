"""Reward-weighted cross-entropy: imitate a query's pointers in proportion to what they earned (SPEC K.1).

Legend: `B` queries, `N` pointers, `S` shots, `K` pool.

Deviations from upstream:
1. Queries whose pointers all earned the same are left out (``skip_constant_groups``); upstream imitates all
   of their pointers.
2. Target and likelihood can be chosen (``rce_target``, ``rce_likelihood``). Upstream's softmax(R/τ) over the
   pool gives worthless random pointers a weight, and so lowers a good SFT policy; ours tilts that policy by
   the reward, among the pointers whose reward is known.
3. BATCH_SIZE is obeyed; an update's loss is the mean over its queries, and τ runs over updates.
4. Queries are split to train and validate after unusable rows were dropped; upstream splits before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.selector.config import RceConfig
from icd_assets.selector.groups import Batch, PointerGroup, collate, shuffled_batches, split_by_query
from icd_assets.selector.losses import pick_log_probs, rce_loss, rce_weights
from icd_assets.selector.model import PointerSelector
from icd_assets.selector.reward_normalization import normalize_rewards
from icd_assets.selector.training import (
    Metrics,
    OnEpoch,
    Optimization,
    Resumed,
    constant_share,
    device_of,
    ignore_epoch,
    mean_metrics,
    stored_log_probs,
    teacher_forced,
    usable,
    validate,
)


def train_rce(
    policy: PointerSelector,
    groups: Sequence[PointerGroup],
    config: RceConfig,
    *,
    sft: PointerSelector,
    resumed: Resumed | None = None,
    on_epoch: OnEpoch = ignore_epoch,
) -> list[Metrics]:
    """Train ``policy``, which starts equal to ``sft``, in place; returns the metrics of each epoch.

    resumed: what the same training had finished when it was interrupted; the end is the same.
    """
    if config.num_layers not in (None, policy.config.num_layers):
        raise UserError(
            f"NUM_LAYERS is {config.num_layers}, but the v2 checkpoint has {policy.config.num_layers}; "
            "unset NUM_LAYERS, or train a v2 checkpoint with as many."
        )
    device = device_of(policy)
    every, validation = split_by_query(groups, config.train_fraction)
    train = usable(every, config.skip_constant_groups)
    start = [each.sum(-1) for each in stored_log_probs(sft, train)] if config.rce_target == "tilted" else None
    policy.set_dropout(config.dropout, config.attn_dropout)
    optimization = Optimization(policy, "rce", config, lr=config.rce_lr, resumed=resumed)

    def train_epoch(epoch: int) -> Metrics:
        batches = shuffled_batches(train, config.batch_size, config.seed, "rce", epoch)
        total = config.rce_epochs * len(batches)
        updates = []
        for number, index in enumerate(batches):
            batch = collate(train, index).to(device)
            # From hot to cold: at first all of a query's pointers count, at last mostly its best.
            temperature = temperature_at(config, epoch * len(batches) + number, total)
            weights = _weights(batch, config, temperature, start)
            updates.append(optimization.update(epoch, number, partial(_loss, policy, batch, weights, config)))
        metrics = mean_metrics(updates) | validate(policy, validation)
        return metrics | {"temperature": temperature, "frac_reward_zero_std": constant_share(every)}

    return optimization.run(config.rce_epochs, train_epoch, on_epoch)


def temperature_at(config: RceConfig, update: int, total: int) -> float:
    """τ at one of ``total`` updates, linear from rce_temp_start to rce_temp_end (SPEC K.1)."""
    done = min(update / max(total - 1, 1), 1.0)
    return config.rce_temp_start + (config.rce_temp_end - config.rce_temp_start) * done


def _weights(batch: Batch, config: RceConfig, temperature: float, start: list[Tensor] | None) -> Tensor:
    """[B, N]"""
    if config.use_top1_only:
        first = torch.zeros_like(batch.rewards)
        first[:, 0] = 1 / batch.pointers.size(-1)  # upstream takes the mean over shots here (SPEC P.3)
        return first
    rewards = batch.rewards
    if config.rce_use_normalized_reward or not config.rce_use_raw_reward:
        rewards = normalize_rewards(
            rewards, batch.mask, config.normalize_method, config.normalize_clamp_value, config.constant_group
        )
    known = None
    if start is not None:
        known = torch.zeros_like(rewards)  # [B, N]
        for row, i in enumerate(batch.index):
            known[row, : len(start[i])] = start[i]
    return rce_weights(rewards, batch.mask, temperature, config.rce_target, known)


def _loss(policy: PointerSelector, batch: Batch, weights: Tensor, config: RceConfig) -> tuple[Tensor, Metrics]:
    logits = teacher_forced(policy, batch, batch.pointers, config.dropout_per)  # [B, N, S, K]
    log_probs = pick_log_probs(logits, batch.pointers).sum(
        -1
    )  # [B, N]: log π of a pointer is the sum of its picks
    loss = rce_loss(log_probs, weights, batch.mask, config.rce_likelihood)
    return loss, {"rce_loss": loss.item()}
