"""How far a training moved a policy: greedy choices that changed, and the KL to where it started.

A policy has not moved if its KL(π‖π_start) is below 0.01 nats a pointer, the lower end of what an adaptive weight
aims at (SPEC K.3-6), and fewer than 1 % of its greedy choices changed: then no evaluation can tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.decoding import evaluating, greedy
from icd_assets.selector.divergence import KL_LOW
from icd_assets.selector.groups import PointerGroup, collate, ordered_batches
from icd_assets.selector.model import PointerSelector
from icd_assets.selector.policy_divergence import divergence_between
from icd_assets.selector.training import device_of

CHOICES_LOW = 0.01
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Movement:
    """Of training and of validation rows: how many greedy choices changed, among how many; KL over all rows."""

    changed_train: int
    train: int
    changed_validation: int
    validation: int
    kl: float  # KL(π‖π_start) in nats a pointer, mean over rows
    clip_fraction: float | None = None  # GRPO's last epoch; None: nothing is clipped in this training

    @property
    def moved(self) -> bool:
        changed, rows = self.changed_train + self.changed_validation, self.train + self.validation
        return self.kl >= KL_LOW or changed >= CHOICES_LOW * rows

    @property
    def sentence(self) -> str:
        clipped = "" if self.clip_fraction is None else f", clip fraction {self.clip_fraction:.2g}"
        changed = (
            f"{self.changed_train:,} of {self.train:,} greedy choices changed on training rows, "
            f"{self.changed_validation:,} of {self.validation:,} on validation rows"
        )
        if self.moved:
            return f"the policy moved: KL {self.kl:.2g}{clipped}, {changed}"
        return (
            f"the policy has not moved: KL {self.kl:.2g} (below {KL_LOW:g}){clipped}, {changed} (below "
            f"{CHOICES_LOW:.0%}); a higher learning rate or more epochs would move it"
        )

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "policy_moved": self.moved,
            "policy_movement": self.sentence,
            "kl_from_start": round(self.kl, 6),
            "choices_changed_train": self.changed_train,
            "choices_changed_validation": self.changed_validation,
            "validation_rows": self.validation,
        }


def movement(
    start: PointerSelector,
    policy: PointerSelector,
    train: Sequence[PointerGroup],
    validation: Sequence[PointerGroup],
    seed: int,
    clip_fraction: float | None = None,
) -> Movement:
    """From ``start`` to ``policy``, which are on one device; ``seed`` is read where a KL draws its paths."""
    changed_train, kl_train = _compared(start, policy, train, seed)
    changed_validation, kl_validation = _compared(start, policy, validation, seed)
    kl = (kl_train + kl_validation) / (len(train) + len(validation))
    return Movement(changed_train, len(train), changed_validation, len(validation), kl, clip_fraction)


def _compared(
    start: PointerSelector, policy: PointerSelector, groups: Sequence[PointerGroup], seed: int
) -> tuple[int, float]:
    """How many greedy pointers differ, and the sum of the KL."""
    changed, kl = 0, 0.0
    for number, index in enumerate(ordered_batches(groups, _BATCH)):
        batch = collate(groups, index).to(device_of(policy))
        shots, rng = batch.pointers.size(2), torch_rng(seed, "movement", number)
        before, after = (greedy(one, batch.query, batch.pool, shots) for one in (start, policy))
        changed += int((before != after).any(-1).sum())
        with evaluating(start), evaluating(policy):
            kl += divergence_between(policy, start, batch.query, batch.pool, shots, rng).sum().item()
    return changed, max(kl, 0.0)  # equal policies may differ by rounding
