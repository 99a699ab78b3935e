"""How much RL data can teach: how often its rewards differ, and which source of pointers earns what."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from icd_assets.scoring.rewards import RewardConfig, knows_correct, reward
from icd_assets.scoring.rl_data import RlData


@dataclass(frozen=True, slots=True)
class Signal:
    """How much there is to learn from. Shares are of all queries, scores are VQA accuracy or CIDEr."""

    queries: int
    candidates: int
    share_with_reward_levels: float  # at least two different rewards: the others give no gradient
    share_with_positive: float | None  # None for captions, of which none is simply correct
    mean_reward: float
    score_by_source: dict[str, float]
    candidates_by_source: dict[str, int]


def signal(data: RlData, config: RewardConfig) -> Signal:
    """Summarize RL data under one reward. Failed evaluations are left out."""
    levels = positives = 0
    rewards: list[float] = []
    score: defaultdict[str, float] = defaultdict(float)
    count: Counter[str] = Counter()
    for query in data.queries:
        usable = [candidate for candidate in query.candidates if not candidate.eval_failed]
        own = [reward(candidate, config) for candidate in usable]
        rewards += own
        levels += len(set(own)) > 1
        positives += any(candidate.positive for candidate in usable)
        for candidate in usable:
            score[candidate.source or "unknown"] += candidate.score or 0.0
            count[candidate.source or "unknown"] += 1
    n = max(1, len(data.queries))
    return Signal(
        queries=len(data.queries),
        candidates=len(rewards),
        share_with_reward_levels=levels / n,
        share_with_positive=positives / n if knows_correct(config) else None,
        mean_reward=sum(rewards) / max(1, len(rewards)),
        score_by_source={source: score[source] / count[source] for source in sorted(count)},
        candidates_by_source={source: count[source] for source in sorted(count)},
    )


def facts(data: RlData, config: RewardConfig, score: str) -> dict[str, Any]:
    """The summary as an artifact's facts: flat, ``rows`` first. ``score`` names what the task's metric gave."""
    summary = asdict(signal(data, config))
    by_source = summary.pop("score_by_source")
    counts = summary.pop("candidates_by_source")
    return {
        "rows": summary.pop("queries"),
        **summary,
        **{f"{score}_{source}": value for source, value in by_source.items()},
        **{f"candidates_{source}": value for source, value in counts.items()},
    }
