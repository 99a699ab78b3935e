"""Step labels: of a query, what each candidate is worth as the next pick after the picks before it.

Labels after no pick at all are those of single demonstrations, InfoScore's first step. Prompts show demonstrations
in the order picked, the newest next to the query, as a selector's pointers are shown. All values are in [0, 1].

Legend: `K` pool.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

# likelihood: of the gold answer, exp of the mean log-probability of its tokens; accuracy: the metric's score of
# the answer that the model gives.
Label = Literal["likelihood", "accuracy"]
Prefix = tuple[int, ...]  # positions in the query's pool, in the order picked


@dataclass(frozen=True, slots=True)
class StepLabels:
    """One query's labels after one prefix."""

    row: int
    prefix: Prefix
    values: tuple[float | None, ...]  # [K]; None: in the prefix, or a prompt that the server refused
    base: float | None  # with the prefix alone: of no picks the zero-shot one; None: refused


def prompts_of(pool: int, prefixes: Collection[Prefix]) -> int:
    """Distinct prompts of one query's labels after ``prefixes``, in a pool of ``pool``.

    >>> prompts_of(64, [()]), prompts_of(64, [(), (3,)]), prompts_of(64, [(3,)])
    (65, 128, 64)
    """
    distinct = set(prefixes)
    of_themselves = sum(not prefix or prefix[:-1] not in distinct for prefix in distinct)
    return of_themselves + sum(pool - len(prefix) for prefix in distinct)


def prompts_at_most(pool: int, *, longest: int, per_length: int) -> int:
    """The same of ``per_length`` prefixes of each length from 1 to ``longest``, where those of single
    candidates are answered already.

    >>> prompts_at_most(64, longest=1, per_length=2)
    126
    """
    return sum(per_length * (pool - picks + (picks > 1)) for picks in range(1, longest + 1))


def merged(*labels: Mapping[int, Iterable[StepLabels]]) -> dict[int, list[StepLabels]]:
    """All labels of each query, by ascending row, then as given; of a prefix labelled twice the first stays."""
    found: dict[int, dict[Prefix, StepLabels]] = {}
    for part in labels:
        for row, steps in part.items():
            own = found.setdefault(row, {})
            for step in steps:
                own.setdefault(step.prefix, step)
    return {row: list(found[row].values()) for row in sorted(found)}


def facts(labels: Mapping[int, Sequence[StepLabels]]) -> dict[str, int | float]:
    """How many labels there are and how much there is to choose, as an artifact's facts. Means are over prefixes:
    of the prefixes alone, of one more candidate at random, of the best one more."""
    steps = [step for own in labels.values() for step in own]
    values = [[value for value in step.values if value is not None] for step in steps]
    bases = [step.base for step in steps if step.base is not None]
    pools = {row: len(own[0].values) for row, own in labels.items() if own}
    return {
        "rows": len(pools),
        "prefixes": len(steps),
        "prompts": sum(prompts_of(pools[row], [step.prefix for step in labels[row]]) for row in pools),
        "mean_before": sum(bases) / max(1, len(bases)),
        "mean_label": sum(sum(own) / len(own) for own in values) / max(1, len(values)),
        "mean_best_label": sum(map(max, values)) / max(1, len(values)),
    }
