"""Headroom: what a better choice of demonstrations could win, before it is paid for.

Two measurements. `stored`: how far a query's best stored pointer is above the policy's first beam, from RL data.
`sampled`: on a few queries, every single demonstration and every second one after the best single are tried
by the likelihood of the gold answer; what they choose is then answered and judged. Sequences matter where the best
pair found is better than the two best singles.

The search knows the gold answer, and the best of many tries is lucky: what it gains is more than a selector can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from icd_assets.datasets.vqa import VqaItem
from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.scoring.metric import Metric
from icd_assets.scoring.rl_data import RlData, RlQuery
from icd_assets.vlm.backend import Backend
from icd_assets.vlm.prompts import Prompt

_ANSWERED = 3  # pairs of a query that are answered: the policy's, the two best singles, the best pair found


@dataclass(frozen=True, slots=True)
class Stored:
    """Of one query of RL data: what its best stored pointer scores above the policy's first beam."""

    row: int
    image: int | str | None
    lost: float


@dataclass(frozen=True, slots=True)
class Sampled:
    """Scores of one query, of pairs in prompt order."""

    row: int
    image: int | str | None
    policy: float
    singles: float  # the two best singles, in the better order
    pair: float  # the best pair found


def stored_losses(data: RlData) -> list[Stored]:
    """One per query with a judged first beam; the others say nothing about the policy."""
    found = []
    for query in data.queries:
        scores = [one.score for one in query.pointers if one.score is not None and not one.eval_failed]
        first = _first_beam(query)
        if first is not None:
            found.append(Stored(query.row, query.image_id, max(scores) - first))
    return found


def _first_beam(query: RlQuery) -> float | None:
    for one in query.pointers:
        if one.source == "beam" and one.beam_rank == 0 and not one.eval_failed:
            return one.score
    return None


def seen_and_not(losses: Sequence[Stored], seen: Collection[int]) -> dict[str, list[Stored]]:
    """By whether the selector was fitted to the row; a kind without rows is not there."""
    kinds = {
        "seen": [one for one in losses if one.row in seen],
        "not_seen": [one for one in losses if one.row not in seen],
    }
    return {kind: rows for kind, rows in kinds.items() if rows}


def prompts_of_a_query(pool: int) -> int:
    """The singles; each second one after the best; the two best singles the other way round; the answers."""
    return pool + (pool - 1) + 1 + _ANSWERED


def measure(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    backend: Backend,
    metric: Metric,
    choices: Mapping[int, Sequence[int]],
    on_progress: OnProgress = ignore,
) -> list[Sampled]:
    """pools: query row → rows of ``library``, at least two; choices: the policy's two rows, in prompt order."""
    total = sum(prompts_of_a_query(len(pools[query.row])) for query in queries)
    done = 0

    def report(of_call: int, _: int) -> None:
        on_progress(min(done + of_call, total), total)

    def likelihoods(asked: Sequence[tuple[VqaItem, tuple[int, ...]]]) -> list[float]:
        nonlocal done
        prompts, golds = _prompts(asked, library), [query.answer for query, _ in asked]
        found = backend.answer_likelihoods(prompts, golds, report)
        done += len(asked)
        return [one.probability for one in found]

    singles = _by_query([(query, (row,)) for query in queries for row in sorted(pools[query.row])], likelihoods)
    best = {row: sorted(found, key=lambda one: -found[one])[:2] for row, found in singles.items()}
    after = []
    for query in queries:
        (first,), (second,) = best[query.row]
        after += [(query, (first, row)) for row in sorted(pools[query.row]) if row != first]
        after.append((query, (second, first)))
    pairs = _by_query(after, likelihoods)
    chosen: list[tuple[VqaItem, tuple[int, ...]]] = []
    for query in queries:
        found, ((first,), (second,)) = pairs[query.row], best[query.row]
        two_best = max((first, second), (second, first), key=lambda pair: found[pair])
        chosen += [
            (query, tuple(choices[query.row])),
            (query, two_best),
            (query, max(found, key=lambda p: found[p])),
        ]
    raw = backend.generate(_prompts(chosen, library), report)
    answers, golds = [metric.clean(text) for text in raw], [query.answers for query, _ in chosen]
    scores = metric.scores(answers, golds)
    on_progress(total, total)
    return [
        Sampled(query.row, query.image_id, *scores[at * _ANSWERED : (at + 1) * _ANSWERED])
        for at, query in enumerate(queries)
    ]


def _prompts(asked: Sequence[tuple[VqaItem, tuple[int, ...]]], library: Sequence[VqaItem]) -> list[Prompt]:
    return [Prompt.of(query, [library[row] for row in rows]) for query, rows in asked]


def _by_query(
    asked: Sequence[tuple[VqaItem, tuple[int, ...]]],
    likelihoods: Callable[[Sequence[tuple[VqaItem, tuple[int, ...]]]], list[float]],
) -> dict[int, dict[tuple[int, ...], float]]:
    found: dict[int, dict[tuple[int, ...], float]] = {}
    for (query, rows), value in zip(asked, likelihoods(asked), strict=True):
        found.setdefault(query.row, {})[rows] = value
    return found
