"""Pointers from a policy: greedy, beam search, sampling; and the log-probability of given pointers.

Legend: `B` queries, `N` pointers, `W` beams, `S` shots, `K` pool, `D` embedding, `H` hidden.
Shots may differ from those trained with; they may not exceed the pool. Nothing here draws dropout or gradients
but :func:`step_log_probs`, which follows the policy's mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from icd_assets.runtime.threads import one_thread
from icd_assets.selector.model import PointerSelector


class Decoded(NamedTuple):
    """Pointers, best or first drawn first, and the log-probability of each pick."""

    pointers: Tensor  # [B, N, S] long
    step_log_probs: Tensor  # [B, N, S]

    @property
    def log_probs(self) -> Tensor:
        """[B, N]"""
        return self.step_log_probs.sum(-1)


@contextmanager
def evaluating(policy: PointerSelector) -> Iterator[None]:
    """Without dropout and gradients, whatever mode the policy is in; on a CPU on one thread."""
    training = policy.training
    policy.eval()
    try:
        with one_thread(next(policy.parameters()).device), torch.no_grad():
            yield
    finally:
        policy.train(training)


def greedy(policy: PointerSelector, query: Tensor, candidates: Tensor, shots: int) -> Tensor:
    """Pointers [B, S]: the best next pick each time; query: [B, D], candidates: [B, K, D]."""
    return _roll_out(policy, query, candidates, shots, 1, lambda _, logits: logits.argmax(-1)).pointers[:, 0]


def sample(
    policy: PointerSelector, query: Tensor, candidates: Tensor, uniforms: Tensor, temperature: float = 1.0
) -> Decoded:
    """Pointers drawn pick by pick, without replacement, from softmax(logits / temperature).

    uniforms: [B, N, S] in [0, 1), float64; the caller owns the randomness, so each query can have its own seed.
    ``step_log_probs`` are those of the tempered distribution that was drawn from.
    """

    def draw(shot: int, logits: Tensor) -> Tensor:
        cumulative = logits.double().softmax(-1).cumsum(-1)  # [B, N, K]
        # Scaled by the total, so that rounding can never point past the last candidate of positive probability.
        target = uniforms[:, :, shot, None].to(cumulative) * cumulative[..., -1:]
        return torch.searchsorted(cumulative, target, right=True).squeeze(-1)

    return _roll_out(policy, query, candidates, uniforms.size(2), uniforms.size(1), draw, temperature)


def _roll_out(
    policy: PointerSelector,
    query: Tensor,
    candidates: Tensor,
    shots: int,
    count: int,
    choose: Callable[[int, Tensor], Tensor],
    temperature: float = 1.0,
) -> Decoded:
    """``choose(shot, logits [B, N, K]) -> [B, N]``; chosen candidates have probability exactly 0."""
    _check(shots, candidates)
    with evaluating(policy):
        encoded = policy.encode(query, candidates)
        state = encoded.state.unsqueeze(1).expand(-1, count, -1)  # [B, N, H]
        chosen = torch.zeros(query.size(0), count, candidates.size(1), dtype=torch.bool, device=query.device)
        picks, log_probs = [], []
        for shot in range(shots):
            logits = policy.scores(state, encoded.candidates, chosen) / temperature
            logits = logits.masked_fill(chosen, -torch.inf)
            picked = choose(shot, logits).unsqueeze(-1)  # [B, N, 1]
            picks.append(picked)
            log_probs.append(logits.log_softmax(-1).gather(2, picked))
            state = policy.step(state, encoded.candidates, picked.squeeze(-1))
            chosen = chosen.scatter(2, picked, True)
    return Decoded(torch.cat(picks, 2), torch.cat(log_probs, 2))


def beam_search(policy: PointerSelector, query: Tensor, candidates: Tensor, shots: int, beams: int) -> Decoded:
    """The ``beams`` most probable pointers found by keeping that many prefixes; fewer if fewer exist."""
    _check(shots, candidates)
    batch, pool = candidates.shape[:2]
    with evaluating(policy):
        encoded = policy.encode(query, candidates)
        state = encoded.state.unsqueeze(1)  # [B, W, H], W = 1
        chosen = torch.zeros(batch, 1, pool, dtype=torch.bool, device=query.device)
        pointers = torch.zeros(batch, 1, 0, dtype=torch.long, device=query.device)
        steps = torch.zeros(batch, 1, 0, device=query.device)
        for shot in range(shots):
            logits = policy.scores(state, encoded.candidates, chosen).masked_fill(chosen, -torch.inf)
            step = logits.log_softmax(-1)  # [B, W, K]
            total = steps.sum(-1, keepdim=True) + step
            keep = min(beams, total.size(1) * (pool - shot))
            # A stable sort, where topk leaves open which of equal prefixes it returns.
            best = total.flatten(1).sort(dim=-1, descending=True, stable=True).indices[:, :keep]  # [B, W']
            parent, picked = best // pool, best % pool
            steps = torch.cat((_rows(steps, parent), step.flatten(1).gather(1, best).unsqueeze(-1)), dim=2)
            pointers = torch.cat((_rows(pointers, parent), picked.unsqueeze(-1)), dim=2)
            state = policy.step(_rows(state, parent), encoded.candidates, picked)
            chosen = _rows(chosen, parent).scatter(2, picked.unsqueeze(-1), True)
    return Decoded(pointers, steps)


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
