"""RL data of many queries, a chunk at a time: propose pointers, ask the VLM with each, label its answers.

In rounds, a policy trained on the answers so far proposes the next pointers. Answers come from the backend's store
and training is deterministic, so a killed collection begins again and soon stands where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from icd_assets.runtime.progress import OnProgress, counting, ignore, within
from icd_assets.runtime.seeding import seed_for
from icd_assets.scoring.chunks import map_chunks
from icd_assets.scoring.collect import answer_proposals
from icd_assets.scoring.rl_data import RlQuery
from icd_assets.selector.projected import ProjectedLibrary
from icd_assets.selector.proposals import Proposal, propose

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.pools.rl_queries import Role
    from icd_assets.scoring.metric import Metric
    from icd_assets.selector.config import ProposalConfig
    from icd_assets.selector.model import PointerSelector
    from icd_assets.vlm.backend import Backend


def collect_rl_data(
    policy: PointerSelector,
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    embeddings: Tensor,
    backend: Backend,
    metric: Metric,
    config: ProposalConfig,
    *,
    gt_prob: bool = False,
    prefix_rewards: bool = False,
    roles: Mapping[int, Role] | None = None,
    rounds: int = 1,
    retrain: Callable[[list[RlQuery]], PointerSelector] | None = None,
    chunk: int = 256,
    on_progress: OnProgress = ignore,
) -> list[RlQuery]:
    """RL data of every query of ``pools`` (row → rows of ``library``), by ascending row.

    embeddings: [n, D], one per row of ``library``. gt_prob: also ask for the likelihood of the gold answers.
    prefix_rewards: also ask with what each pointer begins with. roles: which queries are to train, which to
    validate. Before each of the ``rounds`` after the first, ``retrain`` makes the policy that proposes in it from
    all answers so far; no pointer is asked about again. ``chunk`` queries are asked about at once; it decides the
    speed and nothing else. Progress counts queries.
    """
    if rounds < 1 or (rounds > 1 and retrain is None):
        raise ValueError(f"{rounds} rounds{' and nothing that trains between them' if rounds > 1 else ''}")
    answered: list[RlQuery] = []
    for refresh in range(rounds):
        if refresh and retrain is not None:
            policy = retrain(answered)
        detail = f"round {refresh + 1} of {rounds}" if rounds > 1 else ""
        report = counting(on_progress, "questions", len(pools), detail)
        of_chunk = partial(
            rl_data_of_chunk,
            projected=ProjectedLibrary(policy, embeddings),
            pools=pools,
            library=library,
            backend=backend,
            metric=metric,
            config=config if refresh == 0 else _of_round(config, refresh),
            gt_prob=gt_prob,
            prefix_rewards=prefix_rewards,
            refresh=refresh,
            before={query.row: query for query in answered},
            on_progress=report,
        )
        answered = map_chunks(of_chunk, sorted(pools), chunk, report)
        if roles is not None:
            answered = [query.model_copy(update={"role": roles[query.row]}) for query in answered]
    return answered


def _of_round(config: ProposalConfig, refresh: int) -> ProposalConfig:
    """With other random pointers: those of the first round are answered."""
    return config.model_copy(update={"seed": seed_for(config.seed, "round", refresh)})


def rl_data_of_chunk(
    rows: Sequence[int],
    projected: ProjectedLibrary,
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    backend: Backend,
    metric: Metric,
    config: ProposalConfig,
    gt_prob: bool,
    prefix_rewards: bool = False,
    refresh: int = 0,
    before: Mapping[int, RlQuery] | None = None,
    on_progress: OnProgress = ignore,
) -> list[RlQuery]:
    """RL data of the B queries ``rows``: what :mod:`icd_assets.scoring.chunks` says of such a function holds."""
    candidates = torch.tensor([list(pools[row]) for row in rows])  # [B, K]
    proposals = propose(projected, rows, projected.table[list(rows)], candidates, config)
    before = before or {}
    new = {
        row: _not_answered(own, before.get(row), with_prefixes=prefix_rewards) for row, own in proposals.items()
    }
    if before and not any(new.values()):
        return [before[row] for row in rows]
    found = answer_proposals(
        [library[row] for row in rows],
        pools,
        library,
        new,
        backend,
        metric,
        gt_prob=gt_prob,
        refresh=refresh,
        on_progress=within(on_progress, len(rows), "prompts"),
    )
    return [_together(query, before.get(query.row), config.shots) for query in found]


def _not_answered(proposals: Sequence[Proposal], before: RlQuery | None, *, with_prefixes: bool) -> list[Proposal]:
    """Those whose set of demonstrations was not tried before, and the new ones of what they begin with."""
    tried = {frozenset(answered.pointer) for answered in before.pointers} if before else set()
    new = [proposal for proposal in proposals if frozenset(proposal.pointer) not in tried]
    if not with_prefixes:
        return new
    known = {answered.pointer for answered in before.prefixes} if before else set()
    shorter = {
        prefix: Proposal(prefix, proposal.source)
        for proposal in reversed(new)  # so that the first pointer that begins so names the source
        for prefix in (proposal.pointer[:shots] for shots in range(1, len(proposal.pointer)))
        if prefix not in known
    }
    return [*new, *(shorter[prefix] for prefix in sorted(shorter, key=lambda prefix: (len(prefix), prefix)))]


def _together(query: RlQuery, before: RlQuery | None, shots: int) -> RlQuery:
    """The answers of this round after those before it, pointers of fewer shots apart."""
    full = tuple(answered for answered in query.pointers if len(answered.pointer) == shots)
    shorter = tuple(answered for answered in query.pointers if len(answered.pointer) < shots)
    earlier = (before.pointers, before.prefixes) if before else ((), ())
    return query.model_copy(update={"pointers": (*earlier[0], *full), "prefixes": (*earlier[1], *shorter)})
