"""Training on labels of every kind: what is learned from them, what is kept, and a resumed run's same bytes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from icd_assets.errors import UserError
from icd_assets.selector.config import SelectorConfig, SelectorTraining
from icd_assets.selector.groups import DenseGroup, RewardGroup
from icd_assets.selector.labels import TrainingLabels, label_tensors
from icd_assets.selector.learn import _chosen, kept_epoch, terms, train_selector
from icd_assets.selector.metrics import METRICS
from icd_assets.selector.model import ARCHITECTURES, new_policy
from icd_assets.selector.training import EpochResult, Resumed
from icd_assets.selector.v3_file import read_training_state, write_training_state
from icd_assets_tests.worlds.two_halves import TwoHalves

WORLD = TwoHalves.draw(120, pool=20)
TINY = SelectorTraining(
    hidden_dim=16, aspects=4, updates=25, updates_per_epoch=10, batch_size=8, lr=1e-2, kept_by="greedy_reward"
)
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def dense(rows: Sequence[int], prefixes: Sequence[tuple[int, ...]] = ((), (3,))) -> list[DenseGroup]:
    return [WORLD.labels(row, prefixes) for row in rows]


def stored(rows: Sequence[int], pointers: Sequence[tuple[int, ...]]) -> list[RewardGroup]:
    tensor = torch.tensor(pointers)
    return [
        RewardGroup(row, tuple(WORLD.pools[row].tolist()), tensor, WORLD.likelihood(row, tensor)) for row in rows
    ]


def everything() -> TrainingLabels:
    """Labels of 40 queries, pointers of 60 others and of some of these, with prefixes; beams of 10."""
    return TrainingLabels(
        WORLD.embeddings,
        dense(range(40)),
        [*stored(range(30, 100), [(1, 2), (5, 0), (7, 3)]), *stored(range(30, 100), [(1,), (5,)])],
        stored(range(10), [(0, 1), (2, 3)]),
        held_out=frozenset(range(35, 45)),
    )


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@every_architecture
def test_a_training_is_its_seeds_and_resumes_to_the_same_weights(architecture: Any, tmp_path: Path) -> None:
    config, whole = TINY.model_copy(update={"architecture": architecture}), list[EpochResult]()
    torch.manual_seed(0)
    before = torch.default_generator.get_state()
    expected = train_selector(everything(), config, on_epoch=whole.append)
    assert torch.equal(before, torch.default_generator.get_state())
    assert [result.epoch for result in whole] == [0, 1, 2]
    assert [result.metrics for result in whole] == expected.history
    assert set(expected.history[0]) <= set(METRICS)
    assert not same(whole[0].model_state, whole[1].model_state)
    assert same(whole[expected.best_epoch].model_state, dict(expected.policy.state_dict()))
    for done in range(1, 4):
        torch.manual_seed(done)
        write_training_state(tmp_path / "state", whole[done - 1])
        history = [result.metrics for result in whole[:done]]
        kept = whole[kept_epoch(history, config.kept_by)]
        rest: list[EpochResult] = []
        resumed = Resumed(history, read_training_state(tmp_path / "state"), kept)
        found = train_selector(everything(), config, resumed=resumed, on_epoch=rest.append)
        assert (found.history, found.best_epoch) == (expected.history, expected.best_epoch)
        assert same(dict(found.policy.state_dict()), dict(expected.policy.state_dict()))
        for again, result in zip(rest, whole[done:], strict=True):
            assert same(again.model_state, result.model_state)
            assert all(
                same(v, again.optimizer_state["state"][k]) for k, v in result.optimizer_state["state"].items()
            )


def test_seed_and_stage_change_the_draws_and_the_order_of_groups_nothing() -> None:
    labels = everything()
    first = train_selector(labels, TINY).history
    mixed = TrainingLabels(
        labels.embeddings, labels.dense[::-1], labels.pointers[::-1], labels.beams[::-1], labels.held_out
    )
    assert train_selector(mixed, TINY).history == first
    assert train_selector(labels, TINY.model_copy(update={"seed": 1})).history != first
    assert train_selector(labels, TINY, stage="rl").history != first


@every_architecture
def test_terms_are_those_of_the_policys_own_logits(architecture: Any) -> None:
    """Rolled out together, with one encoding, and cut where they end: 0 to 15 picks, padded or not."""
    prefixes = [(), (4,), (1, 0), (2, 5), tuple(range(15))]
    groups = [*dense([0], prefixes), *dense([1], [(9,), (3,)]), *dense([2], [()])]
    labels = TrainingLabels(
        WORLD.embeddings, groups, stored([0], [tuple(range(16)), tuple(range(3, 19))]), held_out=[2]
    )
    policy = new_policy(TINY.model_copy(update={"architecture": architecture}).selector(16), 0).eval()
    train, _ = label_tensors(labels, TINY, torch.device("cpu"))
    found = {term.kind: term for term in terms(policy, train, torch.tensor([0, 1]), TINY)}
    assert set(found) == {"dense 0", "dense 1", "dense 2", "dense 15", "pointers 16"}

    def logits(row: int, pointer: tuple[int, ...]) -> torch.Tensor:
        pool = WORLD.embeddings[WORLD.pools[row]]
        return policy(WORLD.embeddings[row][None], pool[None], torch.tensor([[pointer]]))[0, 0]

    for row, (kind, column), prefix in (
        (0, ("dense 0", 0), ()),
        (0, ("dense 1", 0), (4,)),
        (1, ("dense 1", 0), (9,)),
        (1, ("dense 1", 1), (3,)),
        (0, ("dense 2", 1), (2, 5)),
        (0, ("dense 15", 0), tuple(range(15))),
    ):
        at_end = logits(row, (*prefix, 19))[-1]
        left = [k for k in range(20) if k not in prefix]
        log_probs = found[kind].log_probs[row, column]
        assert torch.allclose(log_probs[left], at_end[left].log_softmax(-1), atol=1e-4)
        assert (log_probs[list(prefix)] == -torch.inf).all()
        assert found[kind].real[row, column]
    assert found["dense 1"].real.tolist() == [[True, False], [True, True]]
    assert found["dense 15"].real.tolist() == [[True], [False]]
    whole = []
    for first in (0, 3):
        pointer = tuple(range(first, first + 16))
        whole.append(logits(0, pointer).log_softmax(-1)[range(16), pointer].sum())
    assert torch.allclose(found["pointers 16"].log_probs[0, 0], torch.stack(whole).log_softmax(-1), atol=1e-3)


def test_labels_that_were_not_asked_for_are_left_out() -> None:
    values = [0.5, None, 0.2, *[None] * 16, 0.9]
    group = DenseGroup.of(0, WORLD.pools[0].tolist(), [((), values)])
    labels = TrainingLabels(WORLD.embeddings, [group, *dense([1])], held_out=[1])
    policy = new_policy(TINY.selector(16), 0).eval()
    train, _ = label_tensors(labels, TINY, torch.device("cpu"))
    (term,) = terms(policy, train, torch.tensor([0]), TINY)
    chance = term.log_probs[0, 0].exp()
    assert chance.nonzero().flatten().tolist() == [0, 2, 19]
    assert chance.sum().item() == pytest.approx(1)


def test_a_weight_of_zero_is_as_if_there_were_no_such_labels() -> None:
    labels = everything()
    config = TINY.model_copy(update={"pointer_weight": 0.0, "beam_weight": 0.0, "step_weights": [0.0, 1.0]})
    only = TrainingLabels(labels.embeddings, dense(range(40), [(3,)]), held_out=labels.held_out)
    assert train_selector(labels, config).history == train_selector(only, TINY).history


def test_validation_is_the_mean_over_held_out_queries() -> None:
    labels = TrainingLabels(WORLD.embeddings, dense(range(30), [(), (3,), (5,)]), held_out=range(20, 30))
    config = TINY.model_copy(update={"step_weights": [1.0, 0.5], "dense_loss": "expectation", "kept_by": "last"})
    trained = train_selector(labels, config)
    expected, greedy = [0.0, 0.0], [0.0, 0.0]
    for row in range(20, 30):
        pool = WORLD.embeddings[WORLD.pools[row]][None]
        for prefix, step, share in (((), 0, 1.0), ((3,), 1, 0.5), ((5,), 1, 0.5)):
            pointer = torch.tensor([[[*prefix, 19]]])
            logits = trained.policy(WORLD.embeddings[row][None], pool, pointer)[0, 0, -1]
            values = WORLD.likelihood(row, torch.tensor([[*prefix, k] for k in range(20)]))
            expected[step] += share * (logits.softmax(-1) * values).sum().item() / 10
            greedy[step] += share * values[logits.argmax()].item() / 10
    last = trained.history[-1]
    assert last["val_expected_reward"] == pytest.approx((expected[0] + 0.5 * expected[1]) / 1.5, rel=1e-4)
    assert last["val_greedy_reward"] == pytest.approx((greedy[0] + 0.5 * greedy[1]) / 1.5, rel=1e-4)
    assert last["val_loss"] == pytest.approx(-(expected[0] + 0.5 * expected[1]), rel=1e-4)


def test_held_out_queries_teach_nothing() -> None:
    labels = everything()
    worthless = [
        DenseGroup(g.query_row, g.pool, g.prefixes, g.values.flip(1) * g.asked, g.asked)
        if g.query_row in labels.held_out  # type: ignore[operator]
        else g
        for g in labels.dense
    ]
    config = TINY.model_copy(update={"kept_by": "last"})
    changed = TrainingLabels(labels.embeddings, worthless, labels.pointers, labels.beams, labels.held_out)
    first, second = train_selector(labels, config), train_selector(changed, config)
    assert same(dict(first.policy.state_dict()), dict(second.policy.state_dict()))
    assert first.history[-1]["val_loss"] != second.history[-1]["val_loss"]


def test_where_none_are_named_the_last_rows_validate() -> None:
    labels = TrainingLabels(WORLD.embeddings, dense([*range(50, 60), *range(10)]))
    train, validation = label_tensors(labels, TINY, torch.device("cpu"))
    assert (len(train), len(validation)) == (18, 2)
    assert torch.equal(validation.embeddings[validation.queries], WORLD.embeddings[58:60])
    assert torch.equal(train.embeddings[train.pools[0]], WORLD.embeddings[WORLD.pools[0]])
    assert train.embeddings.size(0) <= 18 * 21  # only rows in use


def test_every_kind_of_label_teaches_by_itself() -> None:
    pointers = [(a, b) for a in range(5) for b in range(5, 20)]
    kinds: dict[str, dict[str, Any]] = {
        "dense": {"dense": dense(range(120), [()])},
        "pointers": {"pointers": stored(range(120), pointers)},
        "beams": {"beams": [best(group) for group in stored(range(120), pointers)]},
    }
    config = SelectorTraining(hidden_dim=16, aspects=4, updates=150, updates_per_epoch=50, batch_size=32, lr=1e-2)
    for name, labels in kinds.items():
        history = train_selector(TrainingLabels(WORLD.embeddings, **labels), config).history
        assert history[-1]["val_expected_reward"] > history[0]["val_expected_reward"] + 0.01, name


def best(group: RewardGroup) -> RewardGroup:
    order = group.rewards.sort(descending=True).indices[:3]
    return RewardGroup(group.query_row, group.pool, group.pointers[order], group.rewards[order])


def test_a_warm_start_goes_on_from_its_weights_and_leaves_them() -> None:
    start = train_selector(everything(), TINY).policy
    before = copy.deepcopy(start.state_dict())
    still = TINY.model_copy(update={"lr": 1e-12, "updates": 1, "dropout": 0.4})
    found = train_selector(everything(), still, start=start)
    assert all(torch.allclose(found.policy.state_dict()[name], before[name], atol=1e-6) for name in before)
    train_selector(everything(), TINY, start=start)
    assert same(dict(start.state_dict()), dict(before))
    assert (start.config.dropout, start.training) == (TINY.dropout, False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"architecture": "gru"}, "architecture is gru, but the selector to go on from has coverage"),
        ({"hidden_dim": 32}, "hidden_dim is 32, but the selector to go on from has 16"),
    ],
)
def test_a_warm_start_of_another_shape_is_named(fields: dict[str, Any], said: str) -> None:
    start = new_policy(TINY.selector(16), 0)
    with pytest.raises(UserError, match=said):
        train_selector(everything(), TINY.model_copy(update=fields), start=start)
    with pytest.raises(UserError, match=r"embedding_dim is 16, but .* has 8"):
        train_selector(
            everything(), TINY, start=new_policy(SelectorConfig(**dict(start.config) | {"embedding_dim": 8}), 0)
        )


def test_every_pass_over_the_queries_has_its_own_order() -> None:
    passes = [
        [i for update in range(4) for i in _chosen(30, TINY, "rl", 4 * n + update).tolist()] for n in range(3)
    ]
    assert all(sorted(order) == list(range(30)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3


def test_the_kept_epoch() -> None:
    history = [
        {"val_expected_reward": e, "val_greedy_reward": g} for e, g in ((0.1, 3), (0.4, 2), (0.4, 3), (0.2, 1))
    ]
    assert kept_epoch(history, "expected_reward") == 1
    assert kept_epoch(history, "greedy_reward") == 0
    assert kept_epoch(history, "last") == 3


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"dense": dense([4])}, "of 1 queries with labels 0 are to train and 1 to validate"),
        ({}, "of 0 queries with labels"),
        ({"dense": dense(range(9)), "held_out": [100]}, "9 are to train and 0 to validate"),
        ({"dense": dense(range(9)), "held_out": range(9)}, "0 are to train and 9 to validate"),
        (
            {"dense": [*dense(range(9)), DenseGroup.of(9, [1, 2], [((), [0.1, 0.2])])]},
            r"pools of \[2, 20\] candidates",
        ),
    ],
)
def test_labels_that_cannot_be_trained_on_are_named(labels: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        train_selector(TrainingLabels(WORLD.embeddings, **labels), TINY)


def test_a_query_has_one_pool() -> None:
    other = [RewardGroup(0, tuple(range(50, 70)), torch.tensor([[0, 1]]), torch.tensor([1.0]))]
    with pytest.raises(ValueError, match="query 0: its labels are of different pools"):
        train_selector(TrainingLabels(WORLD.embeddings, dense(range(9)), other), TINY)


def test_a_loss_that_is_no_number_stops_training() -> None:
    with pytest.raises(UserError, match="singles: the loss of epoch 1, update 1 is not a finite number"):
        train_selector(TrainingLabels(WORLD.embeddings * torch.nan, dense(range(20))), TINY, stage="singles")


@pytest.mark.parametrize("field", ["step_weights", "shot_weights"])
def test_weights_are_not_negative(field: str) -> None:
    with pytest.raises(ValueError, match="opposite of the labels"):
        SelectorTraining(**{field: [1.0, -0.1]})
    with pytest.raises(ValueError, match="at least 1 item"):
        SelectorTraining(**{field: []})


def test_the_last_weight_holds_for_longer_sequences() -> None:
    config = SelectorTraining(step_weights=[1, 0.5], shot_weights=[3, 2], pointer_weight=0.1)
    assert [config.step_weight(picks) for picks in (0, 1, 2, 15)] == [1, 0.5, 0.5, 0.5]
    assert [config.shot_weight(shots) for shots in (1, 2, 16)] == pytest.approx([0.3, 0.2, 0.2])
