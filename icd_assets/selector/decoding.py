"""Pointers from a policy: greedy, beam search, sampling; and the log-probability of given pointers.

Legend: `B` queries, `N` pointers, `W` beams, `S` shots, `K` pool, `D` embedding, `H` hidden.
Shots may differ from those trained with; they may not exceed the pool. Nothing here draws dropout or gradients
but :func:`step_log_probs`, which follows the policy's mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from icd_assets.runtime.threads import one_thread
from icd_assets.selector.model import Encoded, PointerSelector


class Decoded(NamedTuple):
    """Pointers, best or first drawn first, and the log-probability of each pick."""

    pointers: Tensor  # [B, N, S] long
    step_log_probs: Tensor  # [B, N, S]
    behavior: Tensor  # [B, N, S] the same at temperature 1

    @property
    def log_probs(self) -> Tensor:
        """[B, N]"""
        return self.step_log_probs.sum(-1)


@contextmanager
def evaluating(policy: PointerSelector) -> Iterator[None]:
    """Without dropout and gradients, whatever mode the policy is in; on a CPU on one thread."""
    training = policy.training
    if training:
        policy.eval()
    try:
        with one_thread(next(policy.parameters()).device), torch.no_grad():
            yield
    finally:
        if training:
            policy.train()


def greedy(policy: PointerSelector, query: Tensor, candidates: Tensor, shots: int) -> Tensor:
    """Pointers [B, S]: the best next pick each time; query: [B, D], candidates: [B, K, D]."""
    with evaluating(policy):
        encoded = policy.encode(query, candidates)
        return roll_out(policy, encoded, shots, lambda _, logits: logits.argmax(-1)).pointers[:, 0]


def sample(
    policy: PointerSelector, query: Tensor, candidates: Tensor, uniforms: Tensor, temperature: float = 1.0
) -> Decoded:
    """Pointers drawn pick by pick, without replacement, from softmax(logits / temperature).

    uniforms: [B, N, S] in [0, 1), float64; the caller owns the randomness, so each query can have its own seed.
    ``step_log_probs`` are those of the tempered distribution that was drawn from.
    """
    count, shots = uniforms.shape[1:]
    tempered = torch.full((count,), temperature)
    with evaluating(policy):
        encoded = policy.encode(query, candidates)
        return roll_out(policy, encoded, shots, partial(draw, uniforms), count=count, temperatures=tempered)


def draw(uniforms: Tensor, shot: int, logits: Tensor) -> Tensor:
    """Picks [B, N] from softmax(logits [B, N, K]) by inversion; uniforms: [B, N, S]."""
    cumulative = logits.double().softmax(-1).cumsum(-1)  # [B, N, K]
    # Scaled by the total, so that rounding can never point past the last candidate of positive probability.
    target = uniforms[:, :, shot, None].to(cumulative) * cumulative[..., -1:]
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1)


def roll_out(
    policy: PointerSelector,
    encoded: Encoded,
    shots: int,
    choose: Callable[[int, Tensor], Tensor],
    *,
    count: int = 1,
    temperatures: Tensor | None = None,
    closed: Tensor | None = None,
) -> Decoded:
    """``choose(shot, logits [B, T or N, K]) -> [B, N]``; what was chosen has probability exactly 0.

    temperatures: [T] of the first pointers; the logits are theirs, tempered, and so are their ``step_log_probs``.
    The other ones of the ``count`` pointers are at 1. closed: [B] positions never to be chosen. The candidates of
    ``encoded`` may be one pool, [1, K, Y], of all queries.
    """
    _check(shots, encoded.candidates)
    state, taken = encoded.state.unsqueeze(1), _taken(encoded, closed)  # [B, 1, X], [B, 1, 0 or 1]
    picks, steps, behavior = [], [], []
    for shot in range(shots):  # before the first pick all pointers of a query are alike
        logits = _open_logits(policy, state, encoded.candidates, taken)
        plain, tempered = logits.log_softmax(-1).expand(-1, count, -1), logits
        if temperatures is not None:
            tempered = logits[:, : len(temperatures)] / temperatures.to(logits)[:, None]
        picked = choose(shot, tempered).unsqueeze(-1)  # [B, N, 1]
        picks.append(picked)
        behavior.append(plain.gather(2, picked))
        steps.append(behavior[-1])
        if temperatures is not None:
            own = tempered.log_softmax(-1).gather(2, picked[:, : len(temperatures)])
            steps[-1] = torch.cat((own, behavior[-1][:, len(temperatures) :]), dim=1)
        if shot + 1 < shots:
            state = _step(policy, state.expand(-1, count, -1), encoded.candidates, picked.squeeze(-1))
            taken = torch.cat((taken.expand(-1, count, -1), picked), dim=2)
    return Decoded(torch.cat(picks, 2), torch.cat(steps, 2), torch.cat(behavior, 2))


def beam_search(policy: PointerSelector, query: Tensor, candidates: Tensor, shots: int, beams: int) -> Decoded:
    """The ``beams`` most probable pointers found by keeping that many prefixes; fewer if fewer exist."""
    with evaluating(policy):
        return beams_of(policy, policy.encode(query, candidates), shots, beams)


def beams_of(
    policy: PointerSelector, encoded: Encoded, shots: int, beams: int, closed: Tensor | None = None
) -> Decoded:
    """:func:`beam_search` of encoded queries, with ``closed`` as in :func:`roll_out`."""
    _check(shots, encoded.candidates)
    batch, pool = len(encoded.state), encoded.candidates.size(1)
    state, taken = encoded.state.unsqueeze(1), _taken(encoded, closed)  # [B, W, X], [B, W, t]; W = 1
    pointers = torch.zeros(batch, 1, 0, dtype=torch.long, device=state.device)
    steps = torch.zeros(batch, 1, 0, device=state.device)
    for shot in range(shots):
        step = _open_logits(policy, state, encoded.candidates, taken).log_softmax(-1)  # [B, W, K]
        total = steps.sum(-1, keepdim=True) + step
        keep = min(beams, total.size(1) * (pool - taken.size(2)))
        best = _best(total.flatten(1), keep)  # [B, W']
        parent, picked = best // pool, best % pool
        steps = torch.cat((_rows(steps, parent), step.flatten(1).gather(1, best).unsqueeze(-1)), dim=2)
        pointers = torch.cat((_rows(pointers, parent), picked.unsqueeze(-1)), dim=2)
        if shot + 1 < shots:
            state = _step(policy, _rows(state, parent), encoded.candidates, picked)
            taken = torch.cat((_rows(taken, parent), picked.unsqueeze(-1)), dim=2)
    return Decoded(pointers, steps, steps)


def _best(total: Tensor, keep: int) -> Tensor:
    """Positions [B, keep] of the largest of total [B, n], from the largest down, the first of equal ones first."""
    values, found = total.topk(min(keep + 1, total.size(1)))
    if bool((values[:, keep - 1 : -1] == values[:, keep:]).any()):  # topk leaves open which of equals
        return total.sort(dim=-1, descending=True, stable=True).indices[:, :keep]
    found = found[:, :keep].sort(dim=-1).values
    return found.gather(1, total.gather(1, found).sort(dim=-1, descending=True, stable=True).indices)


def _taken(encoded: Encoded, closed: Tensor | None) -> Tensor:
    """Positions [B, 1, 0 or 1] that are no candidates before the first pick."""
    device = encoded.state.device
    if closed is None:
        return torch.zeros(len(encoded.state), 1, 0, dtype=torch.long, device=device)
    return closed.view(-1, 1, 1).to(device)


def _open_logits(policy: PointerSelector, state: Tensor, candidates: Tensor, taken: Tensor) -> Tensor:
    """Logits [B, N, K], −∞ at the positions ``taken`` [B, N, t]; of a pool that all queries share, their pointers
    are scored as those of one query."""
    logits = policy.logits(_folded(state, candidates), candidates)
    return logits.view(*state.shape[:2], -1).scatter_(2, taken, -torch.inf)


def _step(policy: PointerSelector, state: Tensor, candidates: Tensor, picked: Tensor) -> Tensor:
    """The states [B, N, X'] after picked [B, N]."""
    moved = policy.step(_folded(state, candidates), candidates, picked.reshape(len(candidates), -1))
    return moved.view(*picked.shape, -1)


def _folded(values: Tensor, candidates: Tensor) -> Tensor:
    return values.reshape(len(candidates), -1, values.size(-1))


def step_log_probs(policy: PointerSelector, query: Tensor, candidates: Tensor, pointers: Tensor) -> Tensor:
    """Log-probability [B, N, S] of each pick of pointers [B, N, S] (SPEC K.2; a repeated pick sees logit −100)."""
    logits = policy(query, candidates, pointers)  # [B, N, S, K]
    picked: Tensor = logits.log_softmax(-1).gather(3, pointers.unsqueeze(-1)).squeeze(-1)
    return picked


def log_prob(policy: PointerSelector, query: Tensor, candidates: Tensor, pointers: Tensor) -> Tensor:
    """Log-probability [B, N] of whole pointers [B, N, S]."""
    return step_log_probs(policy, query, candidates, pointers).sum(-1)


def _rows(values: Tensor, parent: Tensor) -> Tensor:
    """values: [B, W, X], parent: [B, W'] → [B, W', X]"""
    return values.gather(1, parent.unsqueeze(-1).expand(-1, -1, values.size(2)))


def _check(shots: int, candidates: Tensor) -> None:
    if not 1 <= shots <= candidates.size(1):
        raise ValueError(f"cannot choose {shots} different demonstrations from a pool of {candidates.size(1)}")
