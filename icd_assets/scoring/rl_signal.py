"""How much RL data can teach: how often its rewards differ, and which source of pointers earns what."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from icd_assets.scoring.rewards import RewardConfig, computable, knows_correct, reward
from icd_assets.scoring.rl_data import RlData


@dataclass(frozen=True, slots=True)
class Signal:
    """How much there is to learn from. Shares are of all queries, scores are VQA accuracy or CIDEr."""

    queries: int
    pointers: int
    share_with_reward_levels: float  # at least two different rewards: the others give no gradient
    share_with_positive: float | None  # None for captions, which are not right or wrong
    mean_reward: float
    score_by_source: dict[str, float]
    pointers_by_source: dict[str, int]


def signal(data: RlData, config: RewardConfig) -> Signal:
    """Summarize RL data under one reward, without failed evaluations and labels that are not finite."""
    levels = positives = 0
    rewards: list[float] = []
    score: defaultdict[str, float] = defaultdict(float)
    count: Counter[str] = Counter()
    for query in data.queries:
        usable = [found for found in query.pointers if not found.eval_failed and computable(found, config)]
        own = [reward(answered, config) for answered in usable]
        rewards += own
        levels += len(set(own)) > 1
        positives += any(answered.positive for answered in usable)
        for answered in usable:
            score[answered.source or "unknown"] += answered.score or 0.0
            count[answered.source or "unknown"] += 1
    n = max(1, len(data.queries))
    return Signal(
        queries=len(data.queries),
        pointers=len(rewards),
        share_with_reward_levels=levels / n,
        share_with_positive=positives / n if knows_correct(config) else None,
        mean_reward=sum(rewards) / max(1, len(rewards)),
        score_by_source={source: score[source] / count[source] for source in sorted(count)},
        pointers_by_source={source: count[source] for source in sorted(count)},
    )


def facts(data: RlData, config: RewardConfig, score: str) -> dict[str, Any]:
    """The summary as an artifact's facts: flat; their keys are older than the names here. ``score`` names what the
    task's metric gave."""
    summary = signal(data, config)
    # Only what there is: the facts of data without repairs stay as they are.
    repaired = {f"converted_{name}": count for name, count in data.converted.items()}
    repaired |= {f"not_finite_{name}": count for name, count in data.not_finite.items()}
    unusable = sum(not computable(found, config) for query in data.queries for found in query.pointers)
    if unusable:
        repaired["candidates_without_reward"] = unusable
    return {
        "rows": summary.queries,
        "candidates": summary.pointers,
        "share_with_reward_levels": summary.share_with_reward_levels,
        "share_with_positive": summary.share_with_positive,
        "mean_reward": summary.mean_reward,
        **{f"{score}_{source}": value for source, value in summary.score_by_source.items()},
        **{f"candidates_{source}": count for source, count in summary.pointers_by_source.items()},
        **_beyond_the_first_round(data),
        **repaired,
    }


def _beyond_the_first_round(data: RlData) -> dict[str, int]:
    """Counts of what not all RL data have: queries by role, prefixes, pointers of later rounds."""
    roles = Counter(f"rows_{query.role}" for query in data.queries if query.role is not None)
    prefixes = sum(len(query.prefixes) for query in data.queries)
    later = Counter(found.round for query in data.queries for found in query.pointers if found.round)
    rounds = {f"candidates_round_{number + 1}": later[number] for number in sorted(later)}
    return {**dict(sorted(roles.items())), **({"prefixes": prefixes} if prefixes else {}), **rounds}
