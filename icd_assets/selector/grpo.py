"""Group-relative policy optimization over stored pointers (SPEC K.3; GRPO, arXiv 2402.03300).

Legend: `B` queries, `N` pointers, `S` shots, `K` pool.
What of GRPO is not here: no new samples are drawn, since the VLM's answers were collected beforehand. The
stored pointers come from beams, samplers, neighbors and chance, and no importance weight corrects for that:
group-relative REINFORCE is sound off-policy with clipping as its regularizer (arXiv 2509.24203).
``PointerGroup`` keeps the behavior log-probabilities for any correction.

Deviations from upstream, each with its switch:
1. Ratio and KL have separate policies: ``old_policy`` and ``reference``. Upstream takes the SFT policy for
   both, so that after RCE the first ratios are far from 1, and the KL term pulls back to before RCE.
2. No dropout (``dropout``), which makes the ratio noisy.
3. Advantages from raw rewards of the whole group (``reward_source``, see :mod:`.advantages`).
4. Queries without reward variance are left out and counted (``skip_constant_groups``).
5. KL under the policy (``kl``, see :mod:`.policy_divergence`); an entropy bonus is offered.
6. ``use_ppo_clip_only`` with a KL weight is an error; upstream silently ignores the weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.advantages import advantages, top_k
from icd_assets.selector.config import GrpoConfig
from icd_assets.selector.decoding import evaluating
from icd_assets.selector.divergence import entropy, next_beta, stored_divergence
from icd_assets.selector.groups import Batch, PointerGroup, collate, shuffled_batches, split_by_query
from icd_assets.selector.losses import picked, ppo_loss
from icd_assets.selector.model import PointerSelector
from icd_assets.selector.policy_divergence import every_path, path_of, paths_of, policy_divergence
from icd_assets.selector.reward_normalization import normalize_rewards
from icd_assets.selector.training import (
    Metrics,
    OnEpoch,
    Optimization,
    Resumed,
    along_stored,
    constant_share,
    device_of,
    ignore_epoch,
    looked,
    mean_metrics,
    stored_log_probs,
    teacher_forced,
    usable,
    validate,
)

_FROZEN = ("input_proj", "query_proj", "cand_proj")
DEFAULT_BETA = 0.15
_KEPT = 1 << 27  # log-probabilities of a reference that are kept, 0.5 GB: 16,000 queries with pools of 64


def train_grpo(
    policy: PointerSelector,
    groups: Sequence[PointerGroup],
    config: GrpoConfig,
    *,
    sft: PointerSelector,
    rce: PointerSelector,
    resumed: Resumed | None = None,
    on_epoch: OnEpoch = ignore_epoch,
) -> list[Metrics]:
    """Train ``policy``, which starts equal to ``rce``, in place; returns the metrics of each epoch.

    sft, rce: the policies before and after RCE. All three are on one device; groups are on the CPU.
    resumed: what the same training had finished when it was interrupted; the end is the same.
    """
    beta = resumed.last.kl_beta if resumed else starting_beta(config)
    every, validation = split_by_query(groups, config.train_fraction)
    train = usable(every, config.skip_constant_groups)
    reference = _reference(config, sft=sft, rce=rce)
    # [N, S, K] of each group, fixed throughout; under the policy it is other pointers that are looked at.
    known = _along_every_path(reference, train) if config.kl == "under_policy" else along_stored(reference, train)
    policy.set_dropout(config.dropout, config.attn_dropout)
    with _frozen(policy, config.freeze_backbone_in_grpo):
        optimization = Optimization(policy, "grpo", config, lr=config.grpo_lr, resumed=resumed)

        def train_epoch(epoch: int) -> Metrics:
            nonlocal beta
            # Fixed within the epoch; "epoch_start" makes its first ratios 1 and lets later epochs move on.
            old = _old_log_probs(policy, train, config, sft=sft, rce=rce)
            updates = []
            for number, index in enumerate(shuffled_batches(train, config.batch_size, config.seed, "grpo", epoch)):
                batch = collate(train, index).to(device_of(policy))
                held = _Held(
                    _pad([old[i] for i in index]),
                    reference,
                    _pad([known[i] for i in index]) if known else None,
                    torch_rng(config.seed, "grpo", "kl", epoch, number),
                )
                loss_of = partial(_loss, policy, batch, held, beta, epoch, config)
                updates.append(optimization.update(epoch, number, loss_of))
                if config.adaptive_kl:
                    beta = next_beta(beta, updates[-1]["kl"])
            metrics = mean_metrics(updates) | validate(policy, validation)
            return metrics | {"kl_beta": beta, "frac_reward_zero_std": constant_share(every)}

        return optimization.run(config.grpo_epochs, train_epoch, on_epoch)


def starting_beta(config: GrpoConfig) -> float:
    """The KL weight of the first update."""
    if config.use_ppo_clip_only and config.kl_beta:
        raise UserError(
            f"USE_PPO_CLIP is true and KL_BETA is {config.kl_beta:g}, but clipping alone has no KL term; "
            "unset one of them."
        )
    if config.use_ppo_clip_only:
        return 0.0
    return DEFAULT_BETA if config.kl_beta is None else config.kl_beta


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """What an update holds the policy to."""

    old: Tensor  # [B, N, S] log-probabilities of the stored picks: the ratio's denominator
    reference: PointerSelector  # of the KL term
    # [B, N or P, S, K] log-probabilities of the reference along the stored pointers; under the policy, every path.
    known: Tensor | None  # None: it is asked along paths that are drawn
    rng: torch.Generator  # draws the paths of the KL term, where not all are visited


def _loss(
    policy: PointerSelector,
    batch: Batch,
    held: _Held,
    beta: float,
    epoch: int,
    config: GrpoConfig,
) -> tuple[Tensor, Metrics]:
    advantage, kept = _advantages(batch, epoch, config)
    new, kl = _log_probs_and_kl(policy, batch, kept, held, config)
    surrogate = ppo_loss(
        picked(new, batch.pointers),
        held.old,
        advantage,
        kept,
        config.clip_epsilon,
        config.clip_epsilon_high,
        config.ratio_level,
    )
    undecided = entropy(new, kept)
    loss = surrogate.loss + beta * kl - config.entropy_bonus * undecided
    real = advantage[kept]  # 1-dimensional: padding would pull the means to 0
    return loss, {
        "grpo_loss": loss.item(),
        "ppo_loss": surrogate.loss.item(),
        "kl_loss": beta * kl.item(),
        "kl": kl.item(),
        "mean_ratio": surrogate.mean_ratio.item(),
        "clip_fraction": surrogate.clip_fraction.item(),
        "entropy": undecided.item(),
        "mean_advantage": real.mean().item(),
        "std_advantage": real.std().item() if len(real) > 1 else 0.0,
        "max_advantage": real.abs().max().item(),  # by size, as upstream's
    }


def _log_probs_and_kl(
    policy: PointerSelector, batch: Batch, kept: Tensor, held: _Held, config: GrpoConfig
) -> tuple[Tensor, Tensor]:
    """Log-probabilities [B, N, S, K] along the stored pointers, and the KL to the reference, a scalar."""
    pointers, size = batch.pointers, batch.pool.size(1)
    stored, shots = pointers.shape[1:]
    if config.kl != "under_policy":
        assert held.known is not None
        new = teacher_forced(policy, batch, pointers, config.dropout_per).log_softmax(-1)
        return new, stored_divergence(config.kl, new, held.known, pointers, kept)
    paths = paths_of(policy, batch.query, batch.pool, shots, held.rng)
    if (
        held.known is not None and config.dropout_per == "query"
    ):  # among all paths are those of the stored pointers
        every = teacher_forced(policy, batch, paths.pointers, "query").log_softmax(-1)  # [B, P, S, K]
        place = path_of(paths.pointers[0], size, pointers)[..., None, None].expand(-1, -1, shots, size)
        return every.gather(1, place), policy_divergence(every, held.known, paths).mean()
    # One pass for both, so that they share their dropout.
    both = teacher_forced(policy, batch, torch.cat((pointers, paths.pointers), dim=1), config.dropout_per)
    both, reference = both.log_softmax(-1), held.known
    if reference is None:
        with evaluating(held.reference):
            reference = held.reference(batch.query, batch.pool, paths.pointers).log_softmax(-1)
    return both[:, :stored], policy_divergence(both[:, stored:], reference, paths).mean()


def _along_every_path(reference: PointerSelector, groups: Sequence[PointerGroup]) -> list[Tensor]:
    """Per group [P, S, K], the reference's log-probabilities; none where paths are drawn, or too much to keep."""
    shapes = [(len(group.pool), group.pointers.size(1)) for group in groups]
    paths = {shape: every_path(*shape) for shape in {*shapes}}
    numbers = [math.inf if (every := paths[shape]) is None else every.numel() * shape[0] for shape in shapes]
    if sum(numbers) > _KEPT:
        return []
    found: dict[int, Tensor] = {}
    for batch, encoded in looked(reference, groups):
        every = paths[encoded.candidates.size(1), batch.pointers.size(2)]
        assert every is not None
        with evaluating(reference):
            along = reference.along(encoded, every.to(batch.query.device).expand(len(batch.index), -1, -1))
            found.update(zip(batch.index, along.log_softmax(-1), strict=True))
    return [found[i] for i in range(len(groups))]


def _advantages(batch: Batch, epoch: int, config: GrpoConfig) -> tuple[Tensor, Tensor]:
    """Advantages [B, N] and which pointers count [B, N]."""
    match config.reward_source:
        case "raw":
            rewards = batch.rewards
        case "normalized":
            rewards = normalize_rewards(
                batch.rewards,
                batch.mask,
                config.normalize_method,
                config.normalize_clamp_value,
                config.constant_group,
            )
        case _:
            assert_never(config.reward_source)
    k = config.later_epochs_top_k if epoch else config.first_epoch_top_k
    kept = top_k(rewards, batch.mask, k, config.topk_ties)
    values = advantages(
        rewards,
        kept if config.topk_before_advantage else batch.mask,
        baseline=config.baseline,
        scale=config.scale_rewards,
        std_floor=config.std_floor,
        clip=config.advantage_clip,
        rank=config.use_rank_advantage,
    )
    return values, kept


def _reference(config: GrpoConfig, *, sft: PointerSelector, rce: PointerSelector) -> PointerSelector:
    """The policy that the KL term holds on to."""
    match config.reference:
        case "sft":
            return sft
        case "rce":
            return rce
        case _:
            assert_never(config.reference)


def _old_log_probs(
    policy: PointerSelector,
    groups: Sequence[PointerGroup],
    config: GrpoConfig,
    *,
    sft: PointerSelector,
    rce: PointerSelector,
) -> list[Tensor]:
    """Per group [N, S]: the denominator of the ratio."""
    match config.old_policy:
        case "epoch_start":
            source = policy
        case "grpo_start":
            source = rce
        case "sft":
            source = sft
        case _:
            assert_never(config.old_policy)
    return stored_log_probs(source, groups)


def _pad(rows: Sequence[Tensor]) -> Tensor:
    """[N, …] each → [B, N, …], zeros where a group has fewer pointers; the mask hides them."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


@contextmanager
def _frozen(policy: PointerSelector, frozen: bool) -> Iterator[None]:
    """Projections without gradient (SPEC K.3, Freezing); attention, norms and gate are trained."""
    held = [p for name, p in policy.named_parameters() if frozen and name.startswith(_FROZEN)]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
