"""Whether a training moved a policy, in numbers and in one sentence."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.groups import PointerGroup
from icd_assets.selector.model import PointerSelectorV2, new_policy
from icd_assets.selector.movement import Movement, movement

SHAPE = SelectorConfig(hidden_dim=8, num_heads=1, embedding_dim=8)


def groups(count: int, shots: int = 2) -> list[PointerGroup]:
    rng = torch.Generator().manual_seed(1)
    pointer = torch.arange(shots)[None]
    return [
        PointerGroup(
            *(row, torch.randn(8, generator=rng), torch.randn(9, 8, generator=rng), torch.arange(9)),
            *(pointer, torch.ones(1)),
        )
        for row in range(count)
    ]


def moved_by(amount: float) -> tuple[PointerSelectorV2, PointerSelectorV2]:
    start = new_policy(SHAPE, 0)
    policy = copy.deepcopy(start)
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += amount * torch.randn(parameter.shape, generator=rng)
    return start, policy


def test_an_equal_policy_has_not_moved() -> None:
    start, policy = moved_by(0)
    found = movement(start, policy.train(), groups(6), groups(4), 42, 0.0)
    assert (found.changed_train, found.changed_validation, found.kl, found.moved) == (0, 0, 0, False)
    assert policy.training  # its mode is as before, and no dropout was drawn
    assert found.sentence == (
        "the policy has not moved: KL 0 (below 0.01), clip fraction 0, 0 of 6 greedy choices changed on training "
        "rows, 0 of 4 on validation rows (below 1%); a higher learning rate or more epochs would move it"
    )


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_another_policy_has_moved(shots: int) -> None:
    found = movement(*moved_by(0.3), groups(70, shots), groups(30, shots), 42)
    assert found.changed_train > 0 and found.changed_validation > 0 and found.kl > 0.1
    assert found.moved and found.sentence.startswith("the policy moved: KL ") and "clip" not in found.sentence
    assert found == movement(*moved_by(0.3), groups(70, shots), groups(30, shots), 42)


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"kl": 0.0099, "changed_train": 2}, False),
        ({"kl": 0.01, "changed_train": 0}, True),
        ({"kl": 0.001, "changed_train": 3}, True),  # of 300: 1 %
        ({"kl": 0.001, "changed_train": 1, "changed_validation": 2}, True),
    ],
)
def test_both_thresholds(changes: dict[str, Any], moved: bool) -> None:
    still = {"changed_train": 0, "train": 240, "changed_validation": 0, "validation": 60, "kl": 0.0}
    found = Movement(**(still | changes))
    assert found.moved is moved
    assert found.facts["policy_moved"] is moved and found.facts["policy_movement"] == found.sentence
