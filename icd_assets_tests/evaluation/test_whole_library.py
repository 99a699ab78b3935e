"""Choices from the whole library: what is looked at, what is within reach, and what never is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import normalize

from icd_assets.evaluation.whole_library import select_from_library, within_reach
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.decoding import greedy
from icd_assets.selector.model import Encoded, new_policy

POLICY = new_policy(SelectorConfig(embedding_dim=8, hidden_dim=8), 3)


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


LIBRARY, QUERY = unit(50, 8), unit(6, 8, seed=1)
POOLS = [[(7 * query + 3 * place) % 50 for place in range(10)] for query in range(6)]
AS_BUILT = [tuple(pool) for pool in POOLS]  # as samplers give them
NONE_BANNED = [[]] * 6


class Subtracting(nn.Module):
    """A selector whose state is wider than its candidates: [query, mean of the pool], less what it chose."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def encode(self, query, candidates):
        return Encoded(torch.cat((query, candidates.mean(1)), -1), candidates)

    def scores(self, state, candidates, chosen):
        return (state[..., :8] + state[..., 8:]) @ candidates.transpose(1, 2)

    def step(self, state, candidates, picked):
        taken = candidates.gather(1, picked.unsqueeze(-1).expand(-1, -1, 8))
        return state - torch.cat((taken, torch.zeros_like(taken)), -1)


def by_hand(query, pool, rows):
    """Two picks of :class:`Subtracting`, worked out on vectors."""
    aim = query + LIBRARY[pool].mean(0)
    first = max(rows, key=lambda row: float(aim @ LIBRARY[row]))
    rest = [row for row in rows if row != first]
    return first, max(rest, key=lambda row: float((aim - LIBRARY[first]) @ LIBRARY[row]))


def test_it_looks_at_the_pool_and_points_at_what_is_near():
    found = select_from_library(Subtracting(), QUERY, LIBRARY, AS_BUILT, NONE_BANNED, 2, nearest=12)
    outside = 0
    for query, pool, rows in zip(QUERY, POOLS, found, strict=True):
        near = sorted(set(range(50)) - set(pool), key=lambda row: -float(query @ LIBRARY[row]))[:12]
        assert rows == by_hand(query, pool, pool + near)
        outside += len({*rows} - {*pool})
    assert outside > 3  # the world is one in which that matters


def test_without_neighbours_it_is_the_greedy_choice_in_the_pool():
    found = select_from_library(POLICY, QUERY, LIBRARY, POOLS, NONE_BANNED, 3, nearest=0)
    for query, pool, rows in zip(QUERY, POOLS, found, strict=True):
        assert list(rows) == [pool[place] for place in greedy(POLICY, query[None], LIBRARY[pool][None], 3)[0]]


def test_a_library_smaller_than_what_is_asked_for_is_all_within_reach():
    for nearest in (40, 41, 10**6):
        for pool, rows in zip(POOLS, within_reach(QUERY, LIBRARY, POOLS, NONE_BANNED, nearest), strict=True):
            assert rows[:10] == pool and sorted(rows) == list(range(50))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 49), max_size=30), min_size=6, max_size=6), st.integers(0, 60))
def test_what_is_banned_is_never_shown(banned, nearest):
    """Not even where a pool offers it, as pools with ``allow_same_image`` do."""
    reach = within_reach(QUERY, LIBRARY, POOLS, banned, nearest)
    for rows, out in zip(reach, banned, strict=True):
        assert not set(rows) & set(out) and len(set(rows)) == len(rows)
    if all(len(rows) >= 2 for rows in reach):
        found = select_from_library(POLICY, QUERY, LIBRARY, POOLS, banned, 2, nearest)
        assert all(
            len(set(rows)) == 2 and not set(rows) & set(out) for rows, out in zip(found, banned, strict=True)
        )


def test_too_few_rows_are_an_error():
    with pytest.raises(ValueError, match="query 0: 11 demonstrations cannot be chosen from 10 rows"):
        select_from_library(POLICY, QUERY, LIBRARY, POOLS, NONE_BANNED, 11, nearest=0)
    with pytest.raises(ValueError, match="query 1: 2 demonstrations cannot be chosen from 0 rows"):
        banned = [[], list(range(50)), *[[]] * 4]
        select_from_library(POLICY, QUERY, LIBRARY, POOLS, banned, 2)


def test_alike_rows_are_taken_in_order():
    same = torch.ones(30, 8) / 8**0.5
    reach = within_reach(same[:1], same, [[20, 4]], [[0, 2]], 3)
    assert reach == [[20, 4, 1, 3, 5]]
    assert select_from_library(Subtracting(), same[:1], same, [[20, 4]], [[0, 2]], 3, 3) == [(20, 4, 1)]


def test_training_mode_and_gradients_are_left_as_they_were():
    policy = new_policy(SelectorConfig(embedding_dim=8, hidden_dim=8, dropout=0.5), 3).train()
    first = select_from_library(policy, QUERY, LIBRARY, POOLS, NONE_BANNED, 2)
    assert policy.training and first == select_from_library(policy, QUERY, LIBRARY, POOLS, NONE_BANNED, 2)
