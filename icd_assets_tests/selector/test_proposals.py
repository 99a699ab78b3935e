from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.nn import functional

from icd_assets.errors import UserError
from icd_assets.selector import projected
from icd_assets.selector.config import Architecture, ProposalConfig, SelectorConfig
from icd_assets.selector.decoding import beam_search, log_prob
from icd_assets.selector.model import ARCHITECTURES, PointerSelector, PointerSelectorV2, new_policy
from icd_assets.selector.neighbors import Rows, neighbors
from icd_assets.selector.projected import ProjectedLibrary
from icd_assets.selector.proposals import propose
from icd_assets_tests.worlds.plain_proposals import plainly, proposed

ROWS = [11, 5, 8]


@pytest.fixture
def policy() -> PointerSelector:
    return new_policy(SelectorConfig(embedding_dim=8, hidden_dim=4), 3)


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(5)
    return torch.randn(3, 8, generator=rng), torch.randn(3, 20, 8, generator=rng)


@pytest.mark.parametrize("shots", [1, 2, 3, 4])
def test_every_source_proposes_distinct_sets(
    policy: PointerSelector, data: tuple[torch.Tensor, torch.Tensor], shots: int
) -> None:
    config = ProposalConfig(shots=shots)
    for proposals in proposed(policy, ROWS, *data, config).values():
        assert len({frozenset(p.pointer) for p in proposals}) == len(proposals) <= 15
        assert all(len(set(p.pointer)) == shots and min(p.pointer) >= 0 for p in proposals)
        order = ["beam", "retrieval", "sample", "random"]
        ranks = [order.index(p.source) for p in proposals]
        assert ranks == sorted(ranks)


def test_fields_say_where_a_pointer_came_from(
    policy: PointerSelector, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    found = proposed(policy, ROWS, *data, ProposalConfig())
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
    policy: PointerSelector, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    config = ProposalConfig(num_beams=0, samples_per_temp=0, num_random=0, shots=3)
    proposals = proposed(policy, ROWS, *data, config)[11]
    similarity = functional.cosine_similarity(data[0][0], data[1][0], dim=-1)
    order = similarity.argsort(descending=True).tolist()
    assert [p.pointer for p in proposals] == [tuple(order[r : r + 3]) for r in range(5)]
    mean = similarity[list(proposals[2].pointer)].mean().item()
    assert proposals[2].similarity_score == pytest.approx(mean, abs=1e-6)


def test_a_beam_is_kept_over_a_neighbor_of_the_same_set(
    policy: PointerSelector, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    config = ProposalConfig(num_beams=400, samples_per_temp=5, num_random=5)  # the beams are all 380 pairs
    assert {p.source for p in proposed(policy, ROWS, *data, config)[11]} == {"beam"}


def test_a_query_is_proposed_for_alike_in_any_company(
    policy: PointerSelector, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    together = proposed(policy, ROWS, *data, ProposalConfig())
    alone = proposed(policy, [5], data[0][1:2], data[1][1:2], ProposalConfig())
    assert together[5] == alone[5]
    assert proposed(policy, ROWS, *data, ProposalConfig(seed=1)) != together


def test_too_many_shots_name_the_setting(policy: PointerSelector, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(UserError, match="shots is 21, but a pool has 20"):
        proposed(policy, ROWS, *data, ProposalConfig(shots=21))
    with pytest.raises(UserError, match="temps"):
        proposed(policy, ROWS, *data, ProposalConfig(temps=[0.0]))


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("shots", [1, 2, 3])
def test_batches_propose_what_the_plain_formula_does(architecture: Architecture, shots: int) -> None:
    """100 queries, more than one batch: the same pointers of the same sources, in the same order, of each."""
    rng, config = torch.Generator().manual_seed(shots), ProposalConfig(shots=shots)
    shape = SelectorConfig(embedding_dim=24, hidden_dim=16, aspects=4, architecture=architecture)
    policy, table = new_policy(shape, 4), torch.randn(60, 24, generator=rng)
    queries, rows = torch.randn(100, 24, generator=rng), list(range(1000, 1100))
    pools = torch.stack([torch.randperm(60, generator=rng)[:20] for _ in rows])
    found = propose(ProjectedLibrary(policy, table), rows, queries, pools, config)
    for query, row, pool in zip(queries, rows, pools, strict=True):
        plain = plainly(policy, row, query, table[pool], config)
        assert [(p.pointer, p.source) for p in found[row]] == [(pointer, source) for pointer, source, *_ in plain]
        for proposal, (_, source, score, behavior) in zip(found[row], plain, strict=True):
            own = proposal.similarity_score if source == "retrieval" else proposal.logprob_score
            assert own == pytest.approx(score, abs=2e-5)
            assert proposal.behavior_logprob == pytest.approx(behavior, abs=2e-5)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_whole_library_is_a_pool_without_the_query_itself(architecture: Architecture) -> None:
    rng, config = torch.Generator().manual_seed(1), ProposalConfig(num_beams=4, num_random=3)
    shape = SelectorConfig(embedding_dim=24, hidden_dim=16, aspects=4, architecture=architecture)
    policy, table, rows = new_policy(shape, 4), torch.randn(30, 24, generator=rng), [7, 0, 29]
    library = ProjectedLibrary(policy, table)
    found = propose(library, rows, table[rows], None, config)
    for row in rows:
        others = [other for other in range(30) if other != row]
        plain = plainly(policy, row, table[row], table[others], config)
        expected = [(tuple(others[k] for k in pointer), source) for pointer, source, *_ in plain]
        assert [(p.pointer, p.source) for p in found[row]] == expected
    assert propose(library, [29], table[[29]], None, config)[29] == found[29]


def test_one_row_is_proposed_for_alike_in_any_batch_and_library(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(2)
    policy, table = (
        new_policy(SelectorConfig(embedding_dim=64, hidden_dim=32), 3),
        torch.randn(700, 64, generator=rng),
    )
    rows, pools = list(range(150)), torch.stack([torch.randperm(700, generator=rng)[:64] for _ in range(150)])
    whole = propose(ProjectedLibrary(policy, table), rows, table[rows], pools, ProposalConfig())
    backward = propose(
        ProjectedLibrary(policy, table), rows[::-1], table[rows[::-1]], pools.flip(0), ProposalConfig()
    )
    assert backward == whole
    monkeypatch.setattr(projected, "KEPT", 0)  # as a library that is too large to stay projected
    for row in (0, 77, 149):
        alone = propose(ProjectedLibrary(policy, table), [row], table[[row]], pools[[row]], ProposalConfig())
        assert alone[row] == whole[row]


def test_equal_candidates_come_in_the_pools_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """More equal ones than are looked at more closely, and none of them may be preferred to an earlier one."""
    table = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    table = table[[5, *[1] * 30, 2, *[1] * 30]]
    near, cosines = neighbors(table[1:2] * 3, Rows(table), None, None, 4, 2)
    assert near.tolist() == [[[1, 2], [2, 3], [3, 4], [4, 5]]]
    assert cosines[0].tolist() == pytest.approx([1] * 4)


def test_a_library_is_projected_once_and_a_query_looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counter[str]()

    def count(name: str) -> None:
        plain = getattr(PointerSelectorV2, name)

        def counting(self: PointerSelectorV2, *given: Any) -> Any:
            counted[name] += len(given[0])
            return plain(self, *given)

        monkeypatch.setattr(PointerSelectorV2, name, counting)

    for name in ("project", "look", "encode"):
        count(name)
    rng = torch.Generator().manual_seed(2)
    table, rows = torch.randn(700, 8, generator=rng), list(range(128))
    pools = torch.stack([torch.randperm(700, generator=rng)[:64] for _ in rows])
    library = ProjectedLibrary(new_policy(SelectorConfig(embedding_dim=8, hidden_dim=4), 3), table)
    for _ in range(2):
        propose(library, rows, table[rows], pools, ProposalConfig())
    assert counted == {"project": 1024, "look": 256}  # two blocks of 512; each query once, and none encoded
