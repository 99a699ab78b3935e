"""Beam search for the demonstrations that raise the likelihood of the true answer most: InfoScore (SPEC D).

For chosen demonstrations S, a candidate c, and a query x with gold answer y (SPEC D.1, after Lever-LM):
    InfoScore(c | S, x) = P(y | S with c, x) − P(y | S, x),    P = exp(mean log-probability of y's tokens)
"left" puts c before S, "right" puts it just before the query.

Deviations from upstream:
1. P covers exactly the answer's tokens (O.2-5); upstream's Qwen scores average over the whole prompt.
2. A beam always keeps the best candidates; upstream's Qwen keeps the worst singles (O.2-6).
3. Beams are ranked by their total gain P(y | S, x) − P(y | x), not by the last step's score alone, which
   favors sequences whose first step was poor. ``rank: last_step`` is upstream's.
4. The same demonstrations in another order count once: the better order stays. ``keep_reorderings`` is
   upstream's.
5. Later steps try the best singles alone (``expand``), upstream the whole pool (``expand: 0``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field

from icd_assets.errors import UserError
from icd_assets.runtime.progress import OnProgress, counting, ignore
from icd_assets.scoring.asking import Asker

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.vlm.backend import Backend

ConstructOrder = Literal["left", "right"]


class BeamConfig(BaseModel):
    """Settings of the beam search; upstream's are rank: last_step, expand: 0 and keep_reorderings: true."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beam_size: int = Field(5, gt=0, description="Demonstration sequences kept per query.")
    shots: int = Field(2, gt=0, description="Demonstrations per sequence.")
    construct_order: ConstructOrder = Field(
        "left",
        description="Where a newly chosen demonstration goes: before the earlier ones (left) or after them.",
    )
    rank: Literal["total", "last_step"] = Field(
        "total", description="Rank sequences by the total gain in likelihood, or by the last step's gain alone."
    )
    expand: int = Field(
        16,
        ge=0,
        description="After the first demonstration, try only so many of the best single candidates, but no fewer "
        "than the shots; 0: the whole pool, as upstream.",
    )
    keep_reorderings: bool = Field(
        False, description="Keep sequences that hold the same demonstrations in another order."
    )

    def tried_later(self, pool: int) -> int:
        """How many candidates of a pool are tried after the first step."""
        return min(pool, max(self.expand, self.shots)) if self.expand else pool


@dataclass(frozen=True, slots=True)
class Beam:
    """One sequence of demonstrations, as rows of the train split."""

    icds: tuple[int, ...]  # in prompt order
    score: float  # what beams are ranked by
    chosen: tuple[int, ...] = ()  # in the order chosen; empty in legacy files
    step_scores: tuple[float, ...] = ()  # InfoScore of each choice; empty in legacy files


@dataclass(frozen=True, slots=True)
class QueryBeams:
    """The best sequences for one query, best first."""

    row: int
    beams: tuple[Beam, ...]


@dataclass(frozen=True, slots=True)
class _Open:
    """A beam under construction."""

    icds: tuple[int, ...]
    chosen: tuple[int, ...]
    step_scores: tuple[float, ...]
    probability: float  # P(y | icds, x)
    alone: float  # P(y | x)

    @property
    def gain(self) -> float:
        return self.probability - self.alone


def infoscore_beams(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    backend: Backend,
    config: BeamConfig,
    on_progress: OnProgress = ignore,
) -> dict[int, QueryBeams]:
    """The best ``config.beam_size`` sequences for every query; ``pools`` maps a query's row to library rows.

    All queries of the call share the VLM's batches. A query's beams do not depend on the others, so any
    split of the queries into calls gives the same result (on a CPU to the bit, see vlm.kept). Progress
    counts prompts.
    """
    require_pools(queries, pools, library, config.shots)
    total = sum(prompts_at_most(len(pools[query.row]), config) for query in queries)
    on_progress = counting(on_progress, "prompts")
    asker = Asker(library, backend, on_progress, total)
    alone = asker.probabilities([(query, ()) for query in queries])
    beams = {query.row: [_Open((), (), (), p, p)] for query, p in zip(queries, alone, strict=True)}
    candidates = {query.row: sorted(pools[query.row]) for query in queries}
    for step in range(config.shots):
        grown = _grown(queries, beams, candidates, asker, config)
        if step == 0:
            for row, singles in grown.items():
                best = _best(singles, config.tried_later(len(singles)), config)
                candidates[row] = sorted(single.icds[0] for single in best)
        beams = {row: _best(found, config.beam_size, config) for row, found in grown.items()}
    on_progress(total, total)
    return {
        row: QueryBeams(row, tuple(Beam(b.icds, _rank(b, config), b.chosen, b.step_scores) for b in found))
        for row, found in beams.items()
    }


def require_pools(
    queries: Sequence[VqaItem], pools: Mapping[int, Sequence[int]], library: Sequence[VqaItem], shots: int
) -> None:
    """Raise :class:`UserError` for a pool with too few candidates or with the query in it."""
    for query in queries:
        pool = pools.get(query.row, ())
        if len(set(pool)) < shots:
            raise UserError(
                f"the pool of query {query.row} has {len(set(pool))} candidates, fewer than the {shots} shots; "
                "make the pool larger or take fewer shots."
            )
        if any(library[row].question_id == query.question_id for row in pool):
            raise UserError(f"the pool of query {query.row} contains the query; make the pools again.")


def prompts_at_most(pool: int, config: BeamConfig) -> int:
    """Of one query."""
    return sum(prompts_by_shots(pool, config).values())


def prompts_by_shots(pool: int, config: BeamConfig) -> dict[int, int]:
    """The same by how many demonstrations they show: {0: 1, 1: pool, 2: …}."""
    later = config.tried_later(pool)
    return {0: 1, 1: pool} | {step + 1: config.beam_size * (later - step) for step in range(1, config.shots)}


def _grown(
    queries: Sequence[VqaItem],
    beams: Mapping[int, Sequence[_Open]],
    candidates: Mapping[int, Sequence[int]],
    asker: Asker,
    config: BeamConfig,
) -> dict[int, list[_Open]]:
    """Every beam extended by every candidate that it does not hold yet."""
    tried = [
        (query, beam, candidate)
        for query in queries
        for beam in beams[query.row]
        for candidate in candidates[query.row]
        if candidate not in beam.icds
    ]
    orders = [_ordered(beam.icds, new, config.construct_order) for _, beam, new in tried]
    asked = [(query, order) for (query, _, _), order in zip(tried, orders, strict=True)]
    grown: dict[int, list[_Open]] = {query.row: [] for query in queries}
    for (query, beam, new), order, p in zip(tried, orders, asker.probabilities(asked), strict=True):
        scores = (*beam.step_scores, p - beam.probability)
        grown[query.row].append(_Open(order, (*beam.chosen, new), scores, p, beam.alone))
    return grown


def _ordered(icds: tuple[int, ...], new: int, order: ConstructOrder) -> tuple[int, ...]:
    match order:
        case "left":
            return (new, *icds)
        case "right":
            return (*icds, new)
        case _:
            assert_never(order)


def _rank(beam: _Open, config: BeamConfig) -> float:
    match config.rank:
        case "total":
            return beam.gain
        case "last_step":
            return beam.step_scores[-1]
        case _:
            assert_never(config.rank)


def _best(beams: Sequence[_Open], count: int, config: BeamConfig) -> list[_Open]:
    """The ``count`` best, ties by row numbers; of reorderings only the best unless they are kept."""
    kept: dict[object, _Open] = {}
    for beam in sorted(beams, key=lambda beam: (-_rank(beam, config), beam.chosen)):
        kept.setdefault(beam.icds if config.keep_reorderings else frozenset(beam.icds), beam)
        if len(kept) == count:
            break
    return list(kept.values())
