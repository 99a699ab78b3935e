"""Training of a selector on all labels that there are: of every candidate (dense), of stored pointers, of beams.

Legend: `Q` queries, `B` queries of an update, `C` columns (a query's sequences), `K` pool, `N` pointers.

loss = Σ_s w_s·dense(labels after s picks) + Σ_S w_S·expected_reward(pointers of S shots) + w·cross-entropy(beams),
each a mean over a query's sequences, then over the queries of the update that have such labels. Trained together,
none of them can undo another. All share one encoding of the query and its pool, and so one dropout mask.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, assert_never

import torch
from torch import Tensor
from torch.nn import functional

from icd_assets.errors import UserError
from icd_assets.runtime.seeding import torch_rng
from icd_assets.selector.config import KeptBy, SelectorTraining
from icd_assets.selector.decoding import evaluating
from icd_assets.selector.labels import Columns, LabelTensors, TrainingLabels, label_tensors
from icd_assets.selector.losses import among, dense_loss, expected_reward
from icd_assets.selector.model import Encoded, PointerSelector, new_policy
from icd_assets.selector.training import (
    EpochResult,
    Metrics,
    OnEpoch,
    Optimization,
    Resumed,
    device_of,
    ignore_epoch,
    mean_metrics,
)

_EVAL_BATCH = 64
_LAST_RATE = 0.1  # of the first


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSelector:
    """The policy with the weights of the kept epoch, in eval mode."""

    policy: PointerSelector
    best_epoch: int  # 0-based
    history: list[Metrics]


def train_selector(
    labels: TrainingLabels,
    config: SelectorTraining,
    *,
    stage: str = "selector",
    device: str = "cpu",
    start: PointerSelector | None = None,
    resumed: Resumed | None = None,
    on_epoch: OnEpoch = ignore_epoch,
) -> TrainedSelector:
    """Train a new selector, or go on from the weights of ``start``, which stays as it is.

    stage: names the training in errors, results and random draws.
    resumed: what the same training had finished when it was interrupted; the end is the same.
    """
    policy = _first(config, labels.embeddings.size(1), start).to(device)
    train, validation = label_tensors(labels, config, device_of(policy))
    optimization = Optimization(policy, stage, config, lr=config.lr, resumed=resumed)
    best = resumed.best if resumed else None

    def train_epoch(epoch: int) -> Metrics:
        first = epoch * config.updates_per_epoch
        updates = []
        for number in range(min(config.updates_per_epoch, config.updates - first)):
            done = first + number
            optimization.set_lr(config.lr * (1 - (1 - _LAST_RATE) * done / config.updates))
            chosen = _chosen(len(train), config, stage, done).to(device)
            updates.append(optimization.update(epoch, number, partial(_loss, policy, train, chosen, config)))
        return mean_metrics(updates) | _validate(policy, validation, config)

    def keep_best(result: EpochResult) -> None:
        nonlocal best
        if kept_epoch(optimization.history, config.kept_by) == result.epoch:
            best = result
        on_epoch(result)

    history = optimization.run(math.ceil(config.updates / config.updates_per_epoch), train_epoch, keep_best)
    assert best is not None
    policy.load_state_dict(best.model_state)
    return TrainedSelector(policy.eval(), best.epoch, history)


def kept_epoch(history: Sequence[Metrics], kept_by: KeptBy) -> int:
    """0-based epoch of the highest value on held-out queries, the earliest of equals; or the last."""
    match kept_by:
        case "expected_reward" | "greedy_reward":
            return max(range(len(history)), key=lambda epoch: history[epoch][f"val_{kept_by}"])
        case "last":
            return len(history) - 1
        case _:
            assert_never(kept_by)


def _first(config: SelectorTraining, embedding_dim: int, start: PointerSelector | None) -> PointerSelector:
    asked = config.selector(embedding_dim)
    if start is None:
        return new_policy(asked, config.seed)
    policy = copy.deepcopy(start)
    policy.set_dropout(config.dropout, config.attn_dropout)
    if policy.config != asked:
        field = next(name for name, value in policy.config if value != getattr(asked, name))
        raise UserError(
            f"{field} is {getattr(asked, field)}, but the selector to go on from has "
            f"{getattr(policy.config, field)}; set it so, or train from new weights."
        )
    return policy


def _chosen(queries: int, config: SelectorTraining, stage: str, update: int) -> Tensor:
    """The queries [B] of an update: every pass over all of them has its own order."""
    per_pass = math.ceil(queries / config.batch_size)
    order = torch.randperm(queries, generator=torch_rng(config.seed, "shuffle", stage, update // per_pass))
    start = update % per_pass * config.batch_size
    return order[start : start + config.batch_size]


class Term(NamedTuple):
    """Labels of one kind and length in a batch: choices with their values, and what the policy loses by them."""

    kind: str
    weight: float
    loss: Tensor  # [B, n] of n sequences, or one of stored pointers
    log_probs: Tensor  # [B, n, m] of the m choices, normalized over those with a value
    values: Tensor  # [B, n, m]
    real: Tensor  # [B, n] bool


def _loss(
    policy: PointerSelector, labels: LabelTensors, chosen: Tensor, config: SelectorTraining
) -> tuple[Tensor, Metrics]:
    found = [term.weight * _mean(term.loss, term.real) for term in terms(policy, labels, chosen, config)]
    loss = torch.stack(found).sum()
    return loss, {"train_loss": loss.item()}


def _mean(values: Tensor, real: Tensor) -> Tensor:
    """Mean over a query's sequences, then over the queries that have any; both [B, n]."""
    per_query = _per_query(values, real)
    return per_query.sum() / real.any(-1).sum().clamp(min=1)


def _per_query(values: Tensor, real: Tensor) -> Tensor:
    """[B, n] → [B], 0 for a query that has none."""
    return values.masked_fill(~real, 0).sum(-1) / real.sum(-1).clamp(min=1)


def _validate(policy: PointerSelector, labels: LabelTensors, config: SelectorTraining) -> Metrics:
    """Weighted as the loss is; ``val_expected_reward`` and ``val_greedy_reward`` over the labels that exist."""
    sums: dict[str, list[Tensor]] = defaultdict(list)
    weights: dict[str, float] = {}
    with evaluating(policy):
        for chosen in torch.split(torch.arange(len(labels), device=labels.queries.device), _EVAL_BATCH):
            for term in terms(policy, labels, chosen, config):
                expected = (term.log_probs.exp() * term.values).sum(-1)  # [B, n]
                best = term.log_probs.argmax(-1, keepdim=True)
                greedy = term.values.gather(-1, best).squeeze(-1)
                of = torch.stack([_per_query(value, term.real).sum() for value in (term.loss, expected, greedy)])
                sums[term.kind].append(torch.cat((of, term.real.any(-1).sum()[None])))
                weights[term.kind] = term.weight
    totals = {kind: torch.stack(found).sum(0).tolist() for kind, found in sums.items()}
    means = {kind: [x / queries for x in found] for kind, (*found, queries) in totals.items() if queries}
    loss, reward, greedy_reward = (sum(weights[kind] * means[kind][i] for kind in means) for i in range(3))
    whole = sum(weights[kind] for kind in means)
    return {
        "val_loss": loss,
        "val_expected_reward": reward / whole,
        "val_greedy_reward": greedy_reward / whole,
    }


def terms(
    policy: PointerSelector, labels: LabelTensors, chosen: Tensor, config: SelectorTraining
) -> Iterator[Term]:
    """What the labels of the queries ``chosen`` [B] say about the policy."""
    query, pool = labels.embeddings[labels.queries[chosen]], labels.embeddings[labels.pools[chosen]]
    encoded = policy.encode(query, pool)
    if labels.dense is not None:
        yield from _dense_terms(policy, *_having(encoded, labels.dense.at(chosen)), config)
    if labels.pointers is not None:
        yield from _pointer_terms(policy, *_having(encoded, labels.pointers.at(chosen)), config)
    if labels.beams is not None:
        yield from _beam_terms(policy, *_having(encoded, labels.beams.at(chosen)), config)


def _having(encoded: Encoded, columns: Columns) -> tuple[Encoded, Columns]:
    """Only the queries with labels of this kind."""
    have = columns.real.any(-1)
    if bool(have.all()):
        return encoded, columns
    index = have.nonzero().squeeze(-1)
    return Encoded(encoded.state[index], encoded.candidates[index]), columns.at(index)


def _dense_terms(
    policy: PointerSelector, encoded: Encoded, columns: Columns, config: SelectorTraining
) -> Iterator[Term]:
    spans = dict(columns.spans())
    for picks, state, taken in _roll_out(policy, encoded, columns, columns.lengths[0]):
        if picks not in spans:
            continue
        span = spans[picks]  # the last of those that are left
        logits = policy.scores(state[:, span], encoded.candidates, taken[:, span])
        log_probs, values = among(logits, columns.asked[:, span]), columns.values[:, span]
        loss = dense_loss(log_probs, values, config.dense_loss, config.temperature)
        yield Term(f"dense {picks}", config.step_weight(picks), loss, log_probs, values, columns.real[:, span])


def _pointer_terms(
    policy: PointerSelector, encoded: Encoded, columns: Columns, config: SelectorTraining
) -> Iterator[Term]:
    steps = _step_log_probs(policy, encoded, columns)
    for shots, span in columns.spans():
        stored = _among_stored(steps, columns, span)
        loss = expected_reward(stored.log_probs, stored.values, stored.log_probs > -torch.inf)
        yield stored._replace(kind=f"pointers {shots}", weight=config.shot_weight(shots), loss=loss)


def _beam_terms(
    policy: PointerSelector, encoded: Encoded, columns: Columns, config: SelectorTraining
) -> Iterator[Term]:
    steps = _step_log_probs(policy, encoded, columns)
    for shots, span in columns.spans():
        stored = _among_stored(steps, columns, span)
        per_beam = -steps[:, span].sum(-1) / shots  # mean over picks, as SFT's
        loss = _per_query(per_beam, columns.real[:, span]).unsqueeze(1)
        yield stored._replace(kind=f"beams {shots}", weight=config.beam_weight, loss=loss)


def _among_stored(steps: Tensor, columns: Columns, span: slice) -> Term:
    """Stored pointers of one length as the choices; steps: [B, C, L]."""
    real = columns.real[:, span]
    some = real.any(-1, keepdim=True)  # [B, 1]
    log_probs = among(steps[:, span].sum(-1), real | ~some).unsqueeze(1)  # [B, 1, n]
    values = columns.values[:, span].unsqueeze(1)
    return Term("", 0.0, values.new_zeros(()), log_probs, values, some)


def _step_log_probs(policy: PointerSelector, encoded: Encoded, columns: Columns) -> Tensor:
    """Log-probability [B, C, L] of each pick of the sequences, 0 after a sequence's end."""
    steps = []
    for picks, state, taken in _roll_out(policy, encoded, columns, columns.lengths[0] - 1):
        count = _longer(columns, picks)
        picked = columns.sequences[:, :count, picks].unsqueeze(-1)
        logits = policy.scores(state[:, :count], encoded.candidates, taken[:, :count])
        found = logits.log_softmax(-1).gather(-1, picked).squeeze(-1)  # [B, count]
        steps.append(functional.pad(found, (0, len(columns.lengths) - count)))
    return torch.stack(steps, dim=-1)


def _roll_out(
    policy: PointerSelector, encoded: Encoded, columns: Columns, last: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(picks, state [B, c, X], chosen [B, c, K]) after 0 … ``last`` picks of the c columns that are as long."""
    batch, pool = encoded.candidates.shape[:2]
    state = encoded.state.unsqueeze(1).expand(-1, len(columns.lengths), -1)
    chosen = torch.zeros(batch, len(columns.lengths), pool, dtype=torch.bool, device=state.device)
    yield 0, state, chosen
    for picks in range(last):
        count = _longer(columns, picks)
        picked = columns.sequences[:, :count, picks]
        state = policy.step(state[:, :count], encoded.candidates, picked)
        chosen = chosen[:, :count].scatter(2, picked.unsqueeze(-1), True)
        yield picks + 1, state, chosen


def _longer(columns: Columns, picks: int) -> int:
    """How many columns go on after so many picks."""
    return sum(length > picks for length in columns.lengths)
