"""Every architecture is a policy over pointers, whatever its state looks like, and does what its formula says."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.selector.config import ProposalConfig, SelectorConfig, SelectorTraining
from icd_assets.selector.decoding import beam_search, greedy, log_prob, sample
from icd_assets.selector.key_names import expected_shapes
from icd_assets.selector.model import ARCHITECTURES, MASKED, PointerSelector, new_policy, shapes_of
from icd_assets_tests.worlds.plain_proposals import proposed

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
SMALL = {"embedding_dim": 12, "hidden_dim": 8, "aspects": 4, "num_heads": 2, "dropout": 0.3}


def selector(architecture: Any, seed: int = 3, **fields: Any) -> PointerSelector:
    return new_policy(SelectorConfig(architecture=architecture, **(SMALL | fields)), seed).eval()


def random(*shape: int, seed: int = 4) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@every_architecture
def test_weights_depend_on_the_seed_alone_and_shapes_on_the_config(architecture: Any) -> None:
    torch.manual_seed(1)
    before = torch.default_generator.get_state()
    policy = selector(architecture)
    shapes = shapes_of(policy.config)
    assert torch.equal(before, torch.default_generator.get_state())
    torch.manual_seed(2)
    again, other = selector(architecture).state_dict(), selector(architecture, 8).state_dict()
    state = policy.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert any(not torch.equal(state[name], other[name]) for name in state)
    assert list(shapes.items()) == [(name, tuple(tensor.shape)) for name, tensor in state.items()]


def test_the_shapes_of_v2_are_the_published_ones() -> None:
    for layers, width in ((1, 8), (3, 12)):
        config = SelectorConfig(embedding_dim=12, hidden_dim=width, num_layers=layers)
        assert shapes_of(config) == expected_shapes(config)


def test_no_shape_is_allocated_before_it_is_known_to_fit() -> None:
    config = SelectorConfig(embedding_dim=10**6, hidden_dim=10**6, architecture="coverage")
    assert shapes_of(config)["aspect_proj.weight"] == (10**6, 10**6)


@every_architecture
@pytest.mark.parametrize("shots", [1, 2, 3])
def test_a_wide_beam_finds_every_pointer_in_order_of_probability(architecture: Any, shots: int) -> None:
    policy, query, pool = selector(architecture), random(2, 12), random(2, 6, 12)
    everything = [list(pointer) for pointer in permutations(range(6), shots)]
    found = beam_search(policy, query, pool, shots, beams=1000)
    assert sorted(found.pointers[0].tolist()) == everything
    assert torch.allclose(found.log_probs.exp().sum(-1), torch.ones(2), atol=1e-4)
    assert (found.log_probs[:, 1:] <= found.log_probs[:, :-1]).all()
    assert torch.allclose(found.log_probs, log_prob(policy, query, pool, found.pointers), atol=1e-4)


@every_architecture
def test_sixteen_shots_are_decoded_one_after_the_other(architecture: Any) -> None:
    policy, query, pool = selector(architecture), random(2, 12), random(2, 20, 12)
    pointers = greedy(policy, query, pool, 16)
    assert all(len(set(pointer)) == 16 for pointer in pointers.tolist())
    drawn = sample(policy, query, pool, torch.rand(2, 3, 16, dtype=torch.float64), 1.3)
    assert all(len(set(pointer)) == 16 for pointer in drawn.pointers.flatten(0, 1).tolist())
    logits = policy(query, pool, pointers.unsqueeze(1))  # [B, 1, S, K]
    assert torch.equal(logits[:, 0].argmax(-1), pointers)
    for shot in range(16):
        masked = logits[:, 0, shot] == MASKED
        assert [set(row.nonzero().flatten().tolist()) for row in masked] == [
            set(pointer[:shot]) for pointer in pointers.tolist()
        ]


@every_architecture
def test_proposals_come_from_any_policy(architecture: Any) -> None:
    found = proposed(selector(architecture), [5, 9], random(2, 12), random(2, 8, 12), ProposalConfig(shots=3))
    assert {proposal.source for proposal in found[5]} >= {"beam", "retrieval", "random"}
    assert all(proposal.behavior_logprob is not None for proposal in found[9])


@every_architecture
def test_each_query_and_each_pointer_is_scored_by_itself(architecture: Any) -> None:
    policy, query, pool = selector(architecture), random(3, 12), random(3, 5, 12)
    pointers = torch.tensor([[[0, 1, 3], [4, 2, 0]]]).repeat(3, 1, 1)
    together = policy(query, pool, pointers)
    assert together.shape == (3, 2, 3, 5)
    for i in range(3):
        for n in range(2):
            alone = policy(query[i : i + 1], pool[i : i + 1], pointers[i : i + 1, n : n + 1])
            assert torch.allclose(alone[0, 0], together[i, n], atol=1e-5)


@every_architecture
def test_the_order_of_a_pool_does_not_matter(architecture: Any) -> None:
    policy, query, pool = selector(architecture), random(1, 12), random(1, 5, 12)
    order = torch.tensor([3, 0, 4, 1, 2])
    pointers = torch.tensor([[[2, 4, 0]]])
    places = torch.tensor([[[4, 2, 1]]])  # where order put them
    assert torch.allclose(
        policy(query, pool, pointers)[..., order], policy(query, pool[:, order], places), atol=1e-5
    )


@every_architecture
def test_a_pick_changes_the_next_scores(architecture: Any) -> None:
    policy, query, pool = selector(architecture), random(1, 12), random(1, 5, 12)
    logits = policy(query, pool, torch.tensor([[[0, 1], [2, 1]]]))[0].log_softmax(-1)  # [N, S, K]
    assert torch.equal(logits[0, 0], logits[1, 0])
    assert not torch.allclose(logits[0, 1, 3:], logits[1, 1, 3:], atol=1e-4)


@every_architecture
def test_dropout_is_set_on_the_whole_selector(architecture: Any) -> None:
    policy, query, pool = selector(architecture), random(1, 12), random(1, 5, 12)
    pointers = torch.tensor([[[0, 1]]])
    still = policy(query, pool, pointers)
    policy.train()
    assert not torch.equal(policy(query, pool, pointers), policy(query, pool, pointers))
    policy.set_dropout(0.0, 0.0)
    assert (policy.config.dropout, policy.config.attn_dropout) == (0, 0)
    assert torch.allclose(policy(query, pool, pointers), still, atol=1e-5)
    assert torch.equal(policy(query, pool, pointers), policy(query, pool, pointers))


def test_coverage_turns_away_from_what_was_picked() -> None:
    """Two aspects, needed alike: after a pick that covers one, a candidate for the other beats a copy."""
    policy = selector("coverage", embedding_dim=4, hidden_dim=4, aspects=2)
    with torch.no_grad():
        for name, value in {"aspect_proj.weight": torch.eye(4), "need.weight": torch.zeros(2, 4)}.items():
            dict(policy.named_parameters())[name].copy_(value)
        dict(policy.named_parameters())["need.bias"].copy_(torch.tensor([1.0, 0.9]))
    query = torch.tensor([[1.0, 0, 1, 0]])
    pool = torch.tensor(
        [[[1.0, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]]
    )  # first, its copy, second, none
    assert greedy(policy, query, pool, 4).tolist() == [[0, 2, 1, 3]]


def test_mmr_subtracts_the_nearest_pick() -> None:
    policy, query, pool = selector("mmr"), random(1, 12), random(1, 5, 12)
    modules = dict(policy.named_modules())

    def unit(name: str, values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(modules[name](values), dim=-1)

    relevance = (unit("relevance_proj", pool) @ unit("relevance_proj", query[..., None, :]).mT)[0, :, 0]
    alike = unit("similarity_proj", pool[0]) @ unit("similarity_proj", pool[0]).mT
    weight = torch.nn.functional.softplus(modules["trade_off"](query))[0, 0]
    logits = policy(query, pool, torch.tensor([[[3, 1, 0]]]))[0, 0]
    first = (10 * relevance).log_softmax(-1)
    third = 10 * (relevance - weight * torch.maximum(alike[3], alike[1]))
    assert torch.allclose(logits[0].log_softmax(-1), first, atol=1e-4)
    assert torch.allclose(logits[2, [0, 2, 4]], third[[0, 2, 4]], atol=1e-4)


def test_the_transformer_sees_the_order_of_picks_and_no_later_ones() -> None:
    policy, query, pool = selector("transformer", num_layers=2), random(1, 12), random(1, 6, 12)
    seen: list[torch.Tensor] = []
    dict(policy.named_modules())["layers.1"].register_forward_hook(lambda _, __, out: seen.append(out))
    logits = policy(query, pool, torch.tensor([[[0, 1, 2], [1, 0, 2]]]))[0]
    assert not torch.allclose(logits[0, 2, 3:], logits[1, 2, 3:], atol=1e-5)
    assert [out.shape for out in seen] == [(1, 1, 8), (2, 2, 8), (2, 3, 8)]  # before the first pick they are one
    assert torch.allclose(seen[2][:, :2], seen[1], atol=1e-5)
    assert torch.allclose(seen[1][:, :1], seen[0], atol=1e-5)


def test_the_grus_state_moves_from_where_it_is() -> None:
    policy, query, pool = selector("gru"), random(1, 12), random(1, 6, 12)
    state, candidates = policy.encode(query, pool)
    cell, out = (dict(policy.named_modules())[name] for name in ("cell", "out"))
    moved = state + out(cell(candidates[:, 4], state))
    expected = 10 * torch.nn.functional.normalize(moved, dim=-1) @ candidates[0].T
    assert torch.allclose(policy(query, pool, torch.tensor([[[4, 0]]]))[0, 0, 1, :4], expected[0, :4], atol=1e-4)


def test_additive_scores_relate_state_and_candidate() -> None:
    policy, query, pool = selector("additive"), random(1, 12), random(1, 6, 12)
    state, candidates = policy.encode(query, pool)
    weights = dict(policy.named_parameters())
    asked = state[0] @ weights["state_key.weight"].T + weights["state_key.bias"]
    for k in range(6):
        related = torch.tanh(asked + weights["cand_key.weight"] @ candidates[0, k, :8])
        score = policy(query, pool, torch.tensor([[[0]]]))[0, 0, 0, k]
        assert score.item() == pytest.approx((weights["energy.weight"][0] @ related).item(), abs=1e-5)


def test_only_v2_has_the_tensors_of_its_format() -> None:
    names = {
        architecture: set(shapes_of(SelectorConfig(architecture=architecture))) for architecture in ARCHITECTURES
    }
    assert [name for name in names if names[name] == set(expected_shapes(SelectorConfig()))] == ["v2"]


@pytest.mark.parametrize(
    ("architecture", "fields", "said"),
    [
        ("coverage", {"aspects": 3}, "not divisible by aspects 3"),
        ("transformer", {"num_heads": 3}, "not divisible by num_heads 3"),
        ("gru", {"num_heads": 3}, "not divisible by num_heads 3"),
    ],
)
def test_sizes_that_do_not_fit_are_named(architecture: Any, fields: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        selector(architecture, **fields)


def test_a_training_names_all_of_its_selector() -> None:
    config = SelectorTraining(architecture="gru", hidden_dim=32, aspects=2, num_heads=4).selector(100)
    assert (config.architecture, config.embedding_dim, config.hidden_dim) == ("gru", 100, 32)
    assert (config.aspects, config.num_heads, config.dropout) == (2, 4, SelectorTraining().dropout)
    assert SelectorConfig().architecture == "v2"  # what files of Lever-Plus hold
