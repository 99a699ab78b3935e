from __future__ import annotations

from typing import Any

import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.selector.groups import (
    DenseGroup,
    PointerGroup,
    RewardGroup,
    collate,
    ordered_batches,
    shuffled_batches,
    split_by_query,
)


def group(row: int = 0, count: int = 3, pool: int = 6, shots: int = 2) -> PointerGroup:
    pointers = torch.stack([torch.arange(i, i + shots) for i in range(count)])
    return PointerGroup(row, torch.ones(4), torch.ones(pool, 4), pointers, torch.arange(float(count)))


def test_batches_pad_and_mask() -> None:
    batch = collate([group(count=3), group(count=1)], [1, 0])
    assert batch.index == (1, 0)
    assert batch.pointers.tolist() == [[[0, 1], [0, 1], [0, 1]], [[0, 1], [1, 2], [2, 3]]]
    assert batch.mask.tolist() == [[True, False, False], [True, True, True]]
    assert batch.rewards.tolist() == [[0, 0, 0], [0, 1, 2]]


def test_batches_never_mix_pool_sizes_or_shots() -> None:
    groups = [group(i, pool=6 + i % 2, shots=1 + i % 3) for i in range(20)]
    for batches in (ordered_batches(groups, 4), shuffled_batches(groups, 4, 1, "x")):
        assert sorted(i for batch in batches for i in batch) == list(range(20))
        assert all(len({(groups[i].pool.size(0), groups[i].pointers.size(1)) for i in b}) == 1 for b in batches)
        assert max(len(batch) for batch in batches) == 4


def test_order_depends_on_seed_and_epoch_alone() -> None:
    groups = [group(i) for i in range(9)]
    assert shuffled_batches(groups, 2, 1, "rce", 0) == shuffled_batches(groups, 2, 1, "rce", 0)
    assert shuffled_batches(groups, 2, 1, "rce", 0) != shuffled_batches(groups, 2, 1, "rce", 1)
    assert shuffled_batches(groups, 2, 1, "rce", 0) != shuffled_batches(groups, 2, 2, "rce", 0)


def test_the_first_ids_train() -> None:
    train, validation = split_by_query([group(row) for row in (9, 1, 7, 3, 5)], 0.8)
    assert ([g.query_row for g in train], [g.query_row for g in validation]) == ([1, 3, 5, 7], [9])
    with pytest.raises(UserError, match="1 usable queries"):
        split_by_query([group()], 0.8)


@pytest.mark.parametrize(
    ("pointers", "rewards", "problem"),
    [
        ([[0, 6]], [1.0], "outside its pool of 6"),
        ([[0, -1]], [1.0], "outside its pool of 6"),
        ([[2, 2]], [1.0], "twice"),
        ([[0, 1]], [float("nan")], "not a finite"),
        ([[0, 1]], [1.0, 2.0], "do not fit"),
    ],
)
def test_a_bad_group_names_its_query(pointers: list[list[int]], rewards: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=f"query 17: .*{problem}"):
        PointerGroup(17, torch.ones(4), torch.ones(6, 4), torch.tensor(pointers), torch.tensor(rewards))


def test_step_labels_name_embeddings_by_row() -> None:
    group = DenseGroup.of(7, [3, 5, 9], [((), [0.5, 0.2, None]), ((2, 0), [None, 0.0, None])])
    assert group.pool == (3, 5, 9)
    assert group.prefixes == ((), (2, 0))
    assert group.values.tolist() == [pytest.approx([0.5, 0.2, 0]), [0, 0, 0]]
    assert group.asked.tolist() == [[True, True, False], [False, True, False]]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "do not fit"),
        ([((), [0.5, 0.2])], "do not fit"),
        ([((), [None, None, None])], "nothing, or a pick again"),
        ([((1,), [0.5, 0.5, 0.5])], "nothing, or a pick again"),
        ([((1, 1), [0.5, None, 0.5])], "not different positions"),
        ([((3,), [0.5, None, 0.5])], "not different positions"),
        ([((-1,), [0.5, 0.5, None])], "not different positions"),
        ([((), [0.5, -0.1, 0.5])], "finite number from 0"),
        ([((), [0.5, float("nan"), 0.5])], "finite number from 0"),
        ([((), [0.5, float("inf"), 0.5])], "finite number from 0"),
    ],
)
def test_step_labels_that_cannot_be(steps: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"query 7: .*{said}"):
        DenseGroup.of(7, [3, 5, 9], steps)


@pytest.mark.parametrize(
    ("pointers", "rewards", "said"),
    [
        ([[0, 3]], [1.0], "outside its pool of 3"),
        ([[1, 1]], [1.0], "twice"),
        ([[0, 1]], [1.0, 2.0], "do not fit"),
        ([[0, 1]], [float("nan")], "not a finite number"),
    ],
)
def test_stored_pointers_that_cannot_be(pointers: list[list[int]], rewards: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=f"query 7: .*{said}"):
        RewardGroup(7, (3, 5, 9), torch.tensor(pointers), torch.tensor(rewards))
