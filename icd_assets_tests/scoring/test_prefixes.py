from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.scoring.prefixes import propose_prefixes
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.decoding import greedy, log_prob
from icd_assets.selector.model import PointerSelectorV2, new_policy

POOLS = {11: tuple(range(20)), 25: tuple(range(4, 24)), 2: tuple(range(5, 25))}


@pytest.fixture
def policy() -> PointerSelectorV2:
    return new_policy(SelectorConfig(embedding_dim=8, hidden_dim=4), 3)


@pytest.fixture
def embeddings() -> Tensor:
    return torch.randn(30, 8, generator=torch.Generator().manual_seed(5))


def of(policy: PointerSelectorV2, embeddings: Tensor, pools=None, **settings):  # type: ignore[no-untyped-def]
    settings = {"per_length": 4, "longest": 3, "seed": 42, **settings}
    return propose_prefixes(policy, pools or POOLS, embeddings, **settings)


def test_each_length_has_its_number_of_distinct_sets_greedy_first(
    policy: PointerSelectorV2, embeddings: Tensor
) -> None:
    found = of(policy, embeddings)
    assert list(found) == list(POOLS)
    for row, prefixes in found.items():
        assert Counter(map(len, prefixes)) == {1: 4, 2: 4, 3: 4}
        assert len({frozenset(prefix) for prefix in prefixes}) == 12
        assert all(len(set(prefix)) == len(prefix) for prefix in prefixes)
        best = greedy(policy, embeddings[[row]], embeddings[list(POOLS[row])][None], 3)[0].tolist()
        for length, prefix in zip((1, 2, 3), prefixes[::4], strict=True):
            assert prefix == tuple(best[:length])


def test_a_query_has_the_same_prefixes_in_any_company(policy: PointerSelectorV2, embeddings: Tensor) -> None:
    together = of(policy, embeddings)
    for row, pool in POOLS.items():
        assert of(policy, embeddings, {row: pool}) == {row: together[row]}
    assert of(policy.train(), embeddings) == together
    assert of(policy, embeddings, seed=1) != together
    alike = embeddings[[11, *range(1, 30)]]  # one query under two rows
    alike[25] = alike[11]
    pools = dict.fromkeys((11, 25), POOLS[2])
    first, second = of(policy, alike, pools).values()
    assert (first[0], first != second) == (second[0], True)


def test_more_and_longer_prefixes_keep_those_that_were_asked_before(
    policy: PointerSelectorV2, embeddings: Tensor
) -> None:
    few = of(policy, embeddings, per_length=2, longest=2)
    many = of(policy, embeddings, per_length=9, longest=5)
    for row, prefixes in few.items():
        assert set(prefixes) < set(many[row])
        assert [prefix for prefix in many[row] if len(prefix) == 1][:2] == prefixes[:2]


def test_second_prefixes_are_drawn_from_the_policy(policy: PointerSelectorV2, embeddings: Tensor) -> None:
    """Over many seeds, the first pick that is not the greedy one has the policy's conditional frequencies."""
    pool = POOLS[11][:5]
    logits = log_prob(
        policy.eval(), embeddings[[11]], embeddings[list(pool)][None], torch.arange(5).view(1, 5, 1)
    )[0]
    best = int(logits.argmax())
    expected = logits.exp().detach().clone()
    expected[best] = 0
    expected /= expected.sum()
    seeds = range(800)
    seen = Counter(
        of(policy, embeddings, {11: pool}, per_length=2, longest=1, seed=seed)[11][1][0] for seed in seeds
    )
    found = torch.tensor([seen[place] / len(seeds) for place in range(5)])
    assert best not in seen
    assert torch.allclose(found, expected, atol=4 * (0.25 / len(seeds)) ** 0.5)


class Sure(PointerSelectorV2):
    """Draws nothing but its greedy picks."""

    def logits(self, state: Tensor, candidates: Tensor) -> Tensor:
        return super().logits(state, candidates) * 1e6


def test_a_sure_policy_has_its_next_best_last_picks_beside_the_greedy_ones(embeddings: Tensor) -> None:
    policy = Sure(SelectorConfig(embedding_dim=8, hidden_dim=4)).eval()
    prefixes = of(policy, embeddings, {11: POOLS[11]}, per_length=3, longest=2)[11]
    one, two = prefixes[:3], prefixes[3:]
    query, pool = embeddings[[11]], embeddings[list(POOLS[11])][None]
    ranked = log_prob(policy, query, pool, torch.arange(20).view(1, 20, 1))[0].sort(descending=True).indices
    assert [prefix[0] for prefix in one] == ranked[:3].tolist()
    assert {prefix[0] for prefix in two} == {one[0][0]}
    assert len({prefix[1] for prefix in two}) == 3


def test_a_small_pool_has_what_there_is(policy: PointerSelectorV2, embeddings: Tensor) -> None:
    prefixes = of(policy, embeddings, {11: (0, 1, 2)}, per_length=50, longest=2)[11]
    assert len({frozenset(prefix) for prefix in prefixes}) == len(prefixes)
    lengths = Counter(map(len, prefixes))
    assert lengths[1] == 3
    assert lengths[2] in (2, 3)


def test_fifteen_picks_and_none(policy: PointerSelectorV2, embeddings: Tensor) -> None:
    found = of(policy, embeddings, per_length=2, longest=15)
    assert all(Counter(map(len, own)) == dict.fromkeys(range(1, 16), 2) for own in found.values())
    assert of(policy, embeddings, longest=0) == {row: [] for row in POOLS}


def test_a_pool_without_a_candidate_left_is_named(policy: PointerSelectorV2, embeddings: Tensor) -> None:
    with pytest.raises(UserError, match=r"after 20 picks .* the pool of query 11 has 20"):
        of(policy, embeddings, longest=20)
