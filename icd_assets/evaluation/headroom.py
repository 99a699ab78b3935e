"""Headroom in numbers with intervals, and in words: what can be won, and which recipe fits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from icd_assets.evaluation.paired import paired
from icd_assets.evaluation.report import Interval
from icd_assets.evaluation.statistics import interval
from icd_assets.scoring.headroom import Sampled, Stored, seen_and_not

WORTH = 0.02  # of the score: below two points no objective helped (docs/methods/headroom.md)


@dataclass(frozen=True, slots=True)
class StoredHeadroom:
    """Of the rows of one kind: how often and by how much the best stored pointer beats the policy's first beam."""

    rows: int
    beaten: Interval  # share of rows, in [0, 1]
    lost: Interval  # score


@dataclass(frozen=True, slots=True)
class SampledHeadroom:
    """Mean differences of score over a sample's queries."""

    queries: int
    policy: float
    best_pair: float
    over_policy: Interval  # best pair − policy
    over_singles: Interval  # best pair − two best singles
    singles_over_policy: Interval  # two best singles − policy


def of_stored(losses: Sequence[Stored], seen: Collection[int], limit: float) -> dict[str, StoredHeadroom]:
    """ "seen" and "not_seen" of those that there are; ``limit``: the largest score of the task's metric."""
    found = {}
    for kind, rows in seen_and_not(losses, seen).items():
        images = [_image(one) for one in rows]
        found[kind] = StoredHeadroom(
            len(rows),
            interval([float(one.lost > 0) for one in rows], images),
            interval([one.lost for one in rows], images, limit),
        )
    return found


def of_sampled(sample: Sequence[Sampled], limit: float) -> SampledHeadroom:
    images = [_image(one) for one in sample]

    def difference(values: Sequence[float]) -> Interval:
        return paired(values, images, limit).interval

    return SampledHeadroom(
        queries=len(sample),
        policy=sum(one.policy for one in sample) / len(sample),
        best_pair=sum(one.pair for one in sample) / len(sample),
        over_policy=difference([one.pair - one.policy for one in sample]),
        over_singles=difference([one.pair - one.singles for one in sample]),
        singles_over_policy=difference([one.singles - one.policy for one in sample]),
    )


def _image(one: Stored | Sampled) -> str:
    return f"row {one.row}" if one.image is None else str(one.image)


def sentences(found: SampledHeadroom) -> list[str]:
    """What can be won, whether sequences matter, and which recipe fits."""
    said = [_sentence_won(found), _sentence_sequences(found.over_singles)]
    return [*said, f"recipe: {recipe(found)}"]


def _sentence_won(found: SampledHeadroom) -> str:
    gain = in_points(found.over_policy)
    if found.over_policy.low >= WORTH:
        return f"there is something to win: a search that knows the answer gains {gain} on the policy"
    if found.over_policy.high < WORTH:
        return f"there is little to win: even a search that knows the answer gains only {gain}"
    return f"{found.queries} queries cannot tell whether there is something to win: {gain}"


def _sentence_sequences(gain: Interval) -> str:
    if gain.low >= WORTH:
        return f"sequences matter: the best pair gains {in_points(gain)} on the two best singles"
    if gain.high < WORTH:
        return f"sequences do not matter: the best pair gains only {in_points(gain)} on the two best singles"
    return (
        f"whether sequences matter cannot be told: the best pair gains {in_points(gain)} on the two best singles"
    )


def recipe(found: SampledHeadroom) -> str:
    if found.over_policy.high < WORTH:
        return "none; no recipe wins two points here"
    if found.over_singles.low >= WORTH:
        return "sequences"
    if found.singles_over_policy.low >= WORTH:
        sure = found.over_singles.high < WORTH
        return "singles" if sure else "singles; a larger --budget would tell whether sequences add to it"
    return "undecided; give a larger --budget"


def in_points(value: Interval) -> str:
    return f"{100 * value.value:+.1f} points (95 %: {100 * value.low:+.1f} to {100 * value.high:+.1f})"


def stored_sentence(kind: str, found: StoredHeadroom) -> str:
    rows = {"seen": "rows that SFT was fitted to", "not_seen": "rows that SFT was not fitted to"}[kind]
    low, high = 100 * found.beaten.low, 100 * found.beaten.high
    return (
        f"{found.rows:,} {rows}: a stored pointer beats the policy's first beam in {found.beaten.value:.1%} "
        f"({low:.1f} to {high:.1f}), which loses {100 * found.lost.value:.1f} points to the best stored one "
        f"({100 * found.lost.low:.1f} to {100 * found.lost.high:.1f})"
    )


def stored_facts(kinds: Mapping[str, StoredHeadroom]) -> dict[str, Any]:
    """Flat, as an artifact's facts: the sentence and its two numbers, by kind of row."""
    found: dict[str, Any] = {}
    for kind, one in kinds.items():
        found[f"headroom_{kind}"] = stored_sentence(kind, one)
        found[f"headroom_{kind}_beaten"] = one.beaten.value
        found[f"headroom_{kind}_lost"] = one.lost.value
    return found


def as_json(found: StoredHeadroom | SampledHeadroom) -> dict[str, Any]:
    return asdict(found)
