"""What the training stages share: one update, the loop over epochs, validation.

Legend: `B` queries, `N` pointers, `S` shots, `K` pool.
Randomness comes from (seed, stage, epoch, update): a run that resumes at an epoch's end ends with the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.threads import one_thread
from icd_assets.selector.config import DropoutPer, RlConfig, SelectorTraining, SftConfig
from icd_assets.selector.decoding import evaluating
from icd_assets.selector.groups import Batch, PointerGroup, collate, ordered_batches
from icd_assets.selector.losses import pick_log_probs, picked, rce_loss, rce_weights
from icd_assets.selector.model import Encoded, PointerSelector
from icd_assets.selector.projected import ProjectedLibrary
from icd_assets.selector.randomness import isolated_rng

Metrics = dict[str, float]
_EVAL_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class EpochResult:
    """All that the next epoch, or a checkpoint, needs. Tensors are copies on the CPU."""

    stage: str  # sft | rce | grpo, or the name of a selector's training
    epoch: int  # 0-based
    model_state: dict[str, Tensor]
    optimizer_state: dict[str, Any]
    metrics: Metrics
    kl_beta: float = 0.0  # KL weight after the epoch's last update (GRPO)


@dataclass(frozen=True, slots=True, eq=False)
class Resumed:
    """What an interrupted training had finished: every epoch's metrics, the last epoch, and the best one."""

    history: Sequence[Metrics]
    last: EpochResult
    best: EpochResult


OnEpoch = Callable[[EpochResult], None]


def ignore_epoch(result: EpochResult) -> None:
    """The listener of those who do not listen."""


class Optimization:
    """AdamW updates on a policy, each with its own randomness (betas .9/.999 as upstream).

    ``resumed``: the policy gets the weights of its last epoch, and :meth:`run` goes on after that.
    """

    def __init__(
        self,
        policy: PointerSelector,
        stage: str,
        config: SftConfig | RlConfig | SelectorTraining,
        *,
        lr: float,
        resumed: Resumed | None = None,
    ) -> None:
        self.policy, self.stage, self.seed, self.grad_clip = policy, stage, config.seed, config.grad_clip
        self.parameters = [p for p in policy.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=lr, weight_decay=config.weight_decay, fused=True)
        self.history: list[Metrics] = []
        if resumed is not None:
            policy.load_state_dict(resumed.last.model_state)
            self.optimizer.load_state_dict(dict(resumed.last.optimizer_state))
            self.history += resumed.history

    def run(self, epochs: int, train_epoch: Callable[[int], Metrics], on_epoch: OnEpoch) -> list[Metrics]:
        """Train the epochs that are left of ``epochs``; returns the metrics of all, the resumed ones included."""
        for epoch in range(len(self.history), epochs):
            metrics = train_epoch(epoch)
            self.history.append(metrics)
            on_epoch(self.result(epoch, metrics))
        return self.history

    def set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def update(self, epoch: int, number: int, loss_of: Callable[[], tuple[Tensor, Metrics]]) -> Metrics:
        """The epoch's update ``number``; returns the metrics of ``loss_of`` and the gradient's norm unclipped.

        On a CPU on one thread: the weights do not depend on how many there are.
        """
        with one_thread(device_of(self.policy)):
            return self._update(epoch, number, loss_of)

    def _update(self, epoch: int, number: int, loss_of: Callable[[], tuple[Tensor, Metrics]]) -> Metrics:
        if not self.policy.training:
            self.policy.train()
        self.optimizer.zero_grad()
        with isolated_rng(self.seed, self.stage, "step", epoch, number):  # another word would be another dropout
            loss, metrics = loss_of()
        if not torch.isfinite(loss):
            raise UserError(
                f"{self.stage}: the loss of epoch {epoch + 1}, update {number + 1} is not a finite number; "
                "lower the learning rate, or set skip_constant_groups=true if a query has a single pointer."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        limit = self.grad_clip or torch.inf  # at infinity nothing is clipped, but the norm is still measured
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, limit)
        self.optimizer.step()
        return metrics | {"grad_norm": norm.item()}

    def result(self, epoch: int, metrics: Metrics) -> EpochResult:
        return EpochResult(
            self.stage,
            epoch,
            copy_state(self.policy),
            _detached(self.optimizer.state_dict()),
            metrics,
            metrics.get("kl_beta", 0.0),
        )


def copy_state(policy: PointerSelector) -> dict[str, Tensor]:
    """The weights, copied to the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in policy.state_dict().items()}


def _detached(value: Any) -> Any:
    """A copy of an optimizer's state that later updates do not change."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _detached(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_detached(inner) for inner in value]
    return value


def device_of(policy: PointerSelector) -> torch.device:
    return next(policy.parameters()).device


def usable(groups: Sequence[PointerGroup], skip_constant: bool) -> list[PointerGroup]:
    """The groups to train on; those without reward variance teach nothing about which pointer is better."""
    kept = [group for group in groups if not (skip_constant and group.constant)]
    if not kept:
        raise UserError(
            f"in each of the {len(groups)} training queries all pointers earned the same reward, so there is "
            "nothing to learn; propose more or other pointers, or check the reward mode."
        )
    return kept


def teacher_forced(policy: PointerSelector, batch: Batch, pointers: Tensor, dropout_per: DropoutPer) -> Tensor:
    """Logits [B, N, S, K] along pointers [B, N, S] in the policy's mode."""
    match dropout_per:
        case "query":
            return policy.along(policy.look(batch.query, policy.project(batch.pool)), pointers)
        case "pointer":
            encoded = policy.look_each(batch.query, batch.pool, pointers.size(1))
            return policy.along(encoded, pointers.flatten(0, 1).unsqueeze(1)).view(*pointers.shape, -1)
        case _:
            assert_never(dropout_per)


def stored_log_probs(policy: PointerSelector, groups: Sequence[PointerGroup]) -> list[Tensor]:
    """Per group, log-probabilities [N, S] of its stored picks, without dropout."""
    # Picked at once: those of the whole pools are K times as many.
    found = {i: picked(each, groups[i].pointers.to(each.device)) for i, each in _along(policy, groups)}
    return [found[i] for i in range(len(groups))]


def along_stored(policy: PointerSelector, groups: Sequence[PointerGroup]) -> list[Tensor]:
    """Per group, log-probabilities [N, S, K] of the whole pool along its stored pointers, without dropout."""
    found = dict(_along(policy, groups))
    return [found[i] for i in range(len(groups))]


def _along(policy: PointerSelector, groups: Sequence[PointerGroup]) -> Iterator[tuple[int, Tensor]]:
    for batch, encoded in looked(policy, groups):
        with evaluating(policy):
            log_probs = policy.along(encoded, batch.pointers).log_softmax(-1)
        for i, each in zip(batch.index, log_probs, strict=True):
            yield i, each[: len(groups[i].rewards)]


def looked(policy: PointerSelector, groups: Sequence[PointerGroup]) -> Iterator[tuple[Batch, Encoded]]:
    """All groups in batches, whose queries have looked at their pools without dropout; rows are projected once."""
    device, table = device_of(policy), groups[0].table
    shared = all(group.table is table for group in groups)
    library = ProjectedLibrary(policy, table, sum(len(group.pool) for group in groups)) if shared else None
    for index in ordered_batches(groups, _EVAL_BATCH):
        batch = collate(groups, index, with_pool=not shared).to(device)
        with evaluating(policy):
            if library is None:
                projected = policy.project(batch.pool)
            else:
                projected = library.of(torch.stack([groups[i].pool for i in index]))
            yield batch, policy.look(batch.query, projected)


def constant_share(groups: Sequence[PointerGroup]) -> float:
    """Share of groups without reward variance."""
    return sum(group.constant for group in groups) / len(groups)


def mean_metrics(updates: Iterable[Metrics]) -> Metrics:
    """Mean over an epoch's updates."""
    values: dict[str, list[float]] = defaultdict(list)
    for metrics in updates:
        for name, value in metrics.items():
            values[name].append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def validate(policy: PointerSelector, groups: Sequence[PointerGroup]) -> Metrics:
    """Mean over queries, without dropout, on raw rewards.

    val_loss: RCE loss at τ = 1 (SPEC K.3, Validation). val_expected_reward: E[R] under the policy renormalized
    over the stored pointers; unlike the loss it does not ask the policy to imitate every pointer.
    """
    losses, rewards = [], []
    for batch, encoded in looked(policy, groups):
        with evaluating(policy):
            logits = policy.along(encoded, batch.pointers)
        log_probs = pick_log_probs(logits, batch.pointers).sum(-1)  # [B, N] of whole pointers
        weights = rce_weights(batch.rewards, batch.mask, 1.0)
        losses.append(rce_loss(log_probs, weights, batch.mask).item() * len(batch.index))  # batches differ in size
        chance = log_probs.masked_fill(~batch.mask, -torch.inf).softmax(-1)
        rewards.append((chance * batch.rewards).sum().item())
    return {"val_loss": sum(losses) / len(groups), "val_expected_reward": sum(rewards) / len(groups)}


def best_epoch(history: Sequence[Metrics]) -> int:
    """0-based epoch of the highest ``val_expected_reward``; the earliest of equals."""
    return max(range(len(history)), key=lambda epoch: history[epoch]["val_expected_reward"])
