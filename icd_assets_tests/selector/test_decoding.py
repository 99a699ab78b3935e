from __future__ import annotations

from itertools import permutations

import pytest
import torch

from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.decoding import beam_search, greedy, log_prob, sample
from icd_assets.selector.model import PointerSelectorV2, new_policy


@pytest.fixture
def policy() -> PointerSelectorV2:
    return new_policy(SelectorConfig(embedding_dim=8, hidden_dim=4), 3)


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(5)
    return torch.randn(2, 8, generator=rng), torch.randn(2, 6, 8, generator=rng)


def every_pointer(shots: int) -> torch.Tensor:
    return torch.tensor(list(permutations(range(6), shots)))


@pytest.mark.parametrize("shots", [1, 2, 3, 6])
def test_a_wide_beam_finds_every_pointer_in_order_of_probability(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor], shots: int
) -> None:
    query, pool = data
    everything = every_pointer(shots)
    found = beam_search(policy, query, pool, shots, beams=10_000)
    assert found.pointers.shape == (2, len(everything), shots)
    assert sorted(found.pointers[0].tolist()) == everything.tolist()
    assert torch.allclose(found.log_probs.exp().sum(-1), torch.ones(2), atol=1e-4)
    assert (found.log_probs[:, 1:] <= found.log_probs[:, :-1]).all()
    assert torch.allclose(found.log_probs, log_prob(policy.eval(), query, pool, found.pointers), atol=1e-4)


def test_one_beam_is_greedy(policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    pointer = greedy(policy, *data, 4)
    assert torch.equal(beam_search(policy, *data, 4, 1).pointers[:, 0], pointer)
    assert all(len(set(p)) == 4 for p in pointer.tolist())


def test_samples_follow_the_policy(policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    query, pool = data[0][:1], data[1][:1]
    rng = torch.Generator().manual_seed(1)
    drawn = sample(policy, query, pool, torch.rand(1, 40_000, 2, dtype=torch.float64, generator=rng), 4.0)
    assert (drawn.pointers[..., 0] != drawn.pointers[..., 1]).all()
    codes = drawn.pointers[0, :, 0] * 6 + drawn.pointers[0, :, 1]
    for pointer, value in zip(drawn.pointers[0, :30].tolist(), drawn.log_probs[0, :30].tolist(), strict=True):
        share = (codes == pointer[0] * 6 + pointer[1]).float().mean().item()
        assert share == pytest.approx(torch.tensor(value).exp().item(), abs=0.01)


def test_the_largest_uniform_still_points_into_the_pool(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    drawn = sample(policy, *data, torch.full((2, 1, 6), 1 - 2**-53, dtype=torch.float64))
    assert all(sorted(p) == list(range(6)) for p in drawn.pointers[:, 0].tolist())


def test_a_repeated_pick_has_logit_minus_100(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    assert (log_prob(policy.eval(), *data, torch.tensor([[[1, 1]], [[2, 2]]])) < -80).all()


def test_a_pool_cannot_give_more_shots_than_it_has(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    for decode in (lambda: greedy(policy, *data, 7), lambda: beam_search(policy, *data, 7, 2)):
        with pytest.raises(ValueError, match="7 different demonstrations from a pool of 6"):
            decode()
