"""Training under ``--preset lever_plus`` against upstream's trainer, whose classes were run on these groups.

Dropout is 0 on both sides, since upstream draws a mask per pointer. The weights are SPEC P's.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch

from icd_assets.selector.config import LEVER_PLUS, GrpoConfig, RceConfig
from icd_assets.selector.groups import PointerGroup
from icd_assets.selector.grpo import train_grpo
from icd_assets.selector.rce import train_rce
from icd_assets_tests.selector import golden

WITHOUT_DROPOUT = {"dropout": 0.0, "attn_dropout": 0.0}
RCE = RceConfig(**LEVER_PLUS["RceConfig"] | WITHOUT_DROPOUT | {"rce_epochs": 2, "rce_lr": 1e-3})
GRPO = GrpoConfig(**LEVER_PLUS["GrpoConfig"] | WITHOUT_DROPOUT | {"grpo_epochs": 2, "grpo_lr": 1e-3})
# grpo_loss, ppo_loss, kl, mean_ratio, std_advantage, max_advantage, val_loss, kl_beta of each epoch
UPSTREAM = [
    (0.36479038, 0.0, 2.35917016, 3.76741970, 0.0, 0.0, 24.33628178, 0.225),
    (0.58704583, 0.30154852, 0.84111182, 2.17525440, 0.625, 1.11803398, 25.16684055, 0.3375),
]
NAMES = ("grpo_loss", "ppo_loss", "kl", "mean_ratio", "std_advantage", "max_advantage", "val_loss", "kl_beta")


def numbers(*shape: int, shift: int) -> torch.Tensor:
    i = torch.arange(math.prod(shape))
    return (((7 * i + 3 * shift + 3) % 11 - 5) / 10 + ((5 * i + shift) % 13 - 6) / 20).reshape(shape)


def groups() -> list[PointerGroup]:
    """Ten queries of thirteen pointers, whose rewards are 0, 1 or 2: the best three are chosen among equals."""
    found = []
    for row in range(10):
        pairs = [[(row + j) % 8, (row + j + 1 + j // 8) % 8] for j in range(13)]
        rewards = [(0.0, 2.0, 1.0)[(row * j + j * j) % 3] for j in range(13)]
        query, pool = numbers(4, shift=row), numbers(8, 4, shift=2 * row + 1)
        rows = torch.arange(len(pool))
        found.append(PointerGroup(row, query, pool, rows, torch.tensor(pairs), torch.tensor(rewards)))
    return found


def test_losses_and_metrics_are_upstreams() -> None:
    sft = golden.policy()
    rce = copy.deepcopy(sft)
    history = train_rce(rce, groups(), RCE, sft=sft)
    found = [(metrics["rce_loss"], metrics["val_loss"]) for metrics in history]
    assert found == [pytest.approx((18.27066469, 24.31168365)), pytest.approx((18.13982236, 23.53443718))]
    metrics = train_grpo(copy.deepcopy(rce), groups(), GRPO, sft=sft, rce=rce)
    for ours, theirs in zip(metrics, UPSTREAM, strict=True):
        assert [ours[name] for name in NAMES] == pytest.approx(theirs, rel=1e-5, abs=2e-6)


def test_our_own_choice_among_equals_gives_other_losses() -> None:
    sft = golden.policy()
    rce = copy.deepcopy(sft)
    train_rce(rce, groups(), RCE, sft=sft)
    ours = GRPO.model_copy(update={"topk_ties": "first"})
    losses = [m["grpo_loss"] for m in train_grpo(copy.deepcopy(rce), groups(), ours, sft=sft, rce=rce)]
    assert losses == pytest.approx([0.106989, 0.565434], abs=1e-5)
