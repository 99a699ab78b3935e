from __future__ import annotations

import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.decoding import evaluating
from icd_assets.selector.key_names import expected_shapes
from icd_assets.selector.model import PointerSelectorV2, new_policy

V2 = SelectorConfig()


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


PUBLISHED_KEYS = [  # SPEC E.1, L.3
    "input_proj.weight",
    "cross_attn_layers.0.in_proj_weight",
    "cross_attn_layers.0.in_proj_bias",
    "cross_attn_layers.0.out_proj.weight",
    "cross_attn_layers.0.out_proj.bias",
    "attn_norms.0.weight",
    "attn_norms.0.bias",
    "query_proj.weight",
    "cand_proj.weight",
    "query_update_gate.weight",
    "query_update_gate.bias",
]


def test_keys_shapes_and_size_are_the_published_ones() -> None:
    state = new_policy(V2, 0).state_dict()
    assert list(state) == PUBLISHED_KEYS
    assert sum(tensor.numel() for tensor in state.values()) == 657_152
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected_shapes(V2)
    assert all(tensor.dtype is torch.float32 for tensor in state.values())


def test_three_layers_have_the_published_size() -> None:
    config = V2.model_copy(update={"num_layers": 3})
    state = new_policy(config, 0).state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 1_184_512
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected_shapes(config)


def test_equal_widths_need_no_input_projection() -> None:
    assert "input_proj.weight" not in new_policy(SelectorConfig(embedding_dim=16, hidden_dim=16), 0).state_dict()


def test_initialization_depends_on_the_seed_alone() -> None:
    config = SelectorConfig(embedding_dim=8, hidden_dim=4)
    torch.manual_seed(1)
    before = torch.default_generator.get_state()
    first = new_policy(config, 7).state_dict()
    assert torch.equal(before, torch.default_generator.get_state())
    torch.manual_seed(2)
    second, other = new_policy(config, 7).state_dict(), new_policy(config, 8).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["input_proj.weight"], other["input_proj.weight"])


def test_initialization_is_upstreams() -> None:
    policy = new_policy(SelectorConfig(embedding_dim=64, hidden_dim=64), 0)
    off_identity = policy.state_dict()["query_proj.weight"] - torch.eye(64)
    assert off_identity.std().item() == pytest.approx(0.01, rel=0.1)
    assert not policy.query_update_gate.bias.any()


def test_each_query_is_scored_by_itself() -> None:
    policy = new_policy(SelectorConfig(embedding_dim=8, hidden_dim=4), 0).eval()
    query, pool = random(3, 8), random(3, 5, 8)
    pointers = torch.tensor([[[0, 1], [4, 2]]]).repeat(3, 1, 1)
    together = policy(query, pool, pointers)
    assert together.shape == (3, 2, 2, 5)
    for i in range(3):
        alone = policy(query[i : i + 1], pool[i : i + 1], pointers[i : i + 1])
        assert torch.allclose(alone[0], together[i], atol=1e-5)


def test_a_pick_changes_the_next_scores_through_the_gate() -> None:
    policy = new_policy(SelectorConfig(embedding_dim=8, hidden_dim=8), 0).eval()
    query, pool = random(1, 8), random(1, 5, 8)
    logits = policy(query, pool, torch.tensor([[[0, 1], [2, 1]]]))[0]  # [N, S, K]
    assert torch.equal(logits[0, 0], logits[1, 0])
    assert not torch.allclose(logits[0, 1, 3:], logits[1, 1, 3:], atol=1e-3)


def test_dropout_is_set_on_the_whole_policy() -> None:
    policy = new_policy(SelectorConfig(embedding_dim=8, hidden_dim=8), 0)
    query, pool, pointers = random(1, 8), random(1, 5, 8), torch.tensor([[[0, 1]]])
    policy.train()
    assert not torch.equal(policy(query, pool, pointers), policy(query, pool, pointers))
    with evaluating(policy):
        assert torch.equal(policy(query, pool, pointers), policy(query, pool, pointers))
    assert policy.training
    policy.set_dropout(0.0, 0.0)
    assert torch.equal(policy(query, pool, pointers), policy(query, pool, pointers))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UserError, match="not divisible"):
        PointerSelectorV2(SelectorConfig(embedding_dim=8, hidden_dim=6, num_heads=4))
