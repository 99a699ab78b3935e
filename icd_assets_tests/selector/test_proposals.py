from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from icd_assets.errors import UserError
from icd_assets.selector.config import ProposalConfig, SelectorConfig
from icd_assets.selector.decoding import beam_search, log_prob
from icd_assets.selector.model import PointerSelectorV2, new_policy
from icd_assets.selector.proposals import propose

ROWS = [11, 5, 8]


@pytest.fixture
def policy() -> PointerSelectorV2:
    return new_policy(SelectorConfig(embedding_dim=8, hidden_dim=4), 3)


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(5)
    return torch.randn(3, 8, generator=rng), torch.randn(3, 20, 8, generator=rng)


@pytest.mark.parametrize("shots", [1, 2, 3, 4])
def test_every_source_proposes_distinct_sets(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor], shots: int
) -> None:
    config = ProposalConfig(shots=shots)
    for proposals in propose(policy, ROWS, *data, config).values():
        assert len({frozenset(p.pointer) for p in proposals}) == len(proposals) <= 15
        assert all(len(set(p.pointer)) == shots and min(p.pointer) >= 0 for p in proposals)
        order = ["beam", "retrieval", "sample", "random"]
        ranks = [order.index(p.source) for p in proposals]
        assert ranks == sorted(ranks)


def test_fields_say_where_a_pointer_came_from(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    found = propose(policy, ROWS, *data, ProposalConfig())
    beams = beam_search(policy, *data, 2, 5)
    for i, row in enumerate(ROWS):
        pointers = torch.tensor([[p.pointer for p in found[row]]])
        expected = log_prob(policy.eval(), data[0][i : i + 1], data[1][i : i + 1], pointers)[0]
        for proposal, value in zip(found[row], expected.tolist(), strict=True):
            assert proposal.behavior_logprob == pytest.approx(value, abs=1e-4)
            if proposal.source == "beam":
                rank = proposal.beam_rank
                assert rank is not None
                assert proposal.pointer == tuple(beams.pointers[i, rank].tolist())
                assert proposal.logprob_score == pytest.approx(value, abs=1e-4)
                assert proposal.beam_score == pytest.approx(beams.step_log_probs[i, rank].exp().sum().item(), 1e-4)
            else:
                assert proposal.beam_rank is None
                assert proposal.beam_score is None
            assert (proposal.temperature is None) == (proposal.source != "sample")
            assert (proposal.similarity_score is None) == (proposal.source != "retrieval")


def test_neighbors_are_ranks_r_to_r_plus_s(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    config = ProposalConfig(num_beams=0, samples_per_temp=0, num_random=0, shots=3)
    proposals = propose(policy, ROWS, *data, config)[11]
    similarity = functional.cosine_similarity(data[0][0], data[1][0], dim=-1)
    order = similarity.argsort(descending=True).tolist()
    assert [p.pointer for p in proposals] == [tuple(order[r : r + 3]) for r in range(5)]
    mean = similarity[list(proposals[2].pointer)].mean().item()
    assert proposals[2].similarity_score == pytest.approx(mean, abs=1e-6)


def test_a_beam_is_kept_over_a_neighbor_of_the_same_set(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    config = ProposalConfig(num_beams=400, samples_per_temp=5, num_random=5)  # the beams are all 380 pairs
    assert {p.source for p in propose(policy, ROWS, *data, config)[11]} == {"beam"}


def test_a_query_is_proposed_for_alike_in_any_company(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    together = propose(policy, ROWS, *data, ProposalConfig())
    alone = propose(policy, [5], data[0][1:2], data[1][1:2], ProposalConfig())
    assert together[5] == alone[5]
    assert propose(policy, ROWS, *data, ProposalConfig(seed=1)) != together


def test_too_many_shots_name_the_setting(
    policy: PointerSelectorV2, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    with pytest.raises(UserError, match="shots is 21, but a pool has 20"):
        propose(policy, ROWS, *data, ProposalConfig(shots=21))
    with pytest.raises(UserError, match="temps"):
        propose(policy, ROWS, *data, ProposalConfig(temps=[0.0]))
