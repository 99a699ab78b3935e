"""A whole evaluation with objects in memory: trained selectors beside baselines and the best in the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icd_assets.evaluation.compare import compare, kinds_of
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.evaluate import Outcome, evaluate, require_queries
from icd_assets.evaluation.report import Comparison
from icd_assets.evaluation.select import Encode, select
from icd_assets.evaluation.strategies import SimilarityOf
from icd_assets.runtime.progress import OnProgress, ignore

if TYPE_CHECKING:
    from torch import Tensor

    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.scoring.metric import Metric
    from icd_assets.selector.model import PointerSelector
    from icd_assets.vlm.backend import Backend


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Every prediction of every strategy, and how the strategies compare."""

    outcomes: list[Outcome]
    comparison: Comparison


def evaluate_selectors(
    policies: Mapping[str, PointerSelector],
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    encode: Encode,
    backend: Backend,
    metric: Metric,
    config: EvaluationConfig | None = None,
    *,
    similarities: Sequence[SimilarityOf] = ("image", "text", "image+text"),
    prices: Mapping[str, int] | None = None,
    embeddings: Tensor | None = None,
    on_progress: OnProgress = ignore,
) -> Evaluation:
    """Let every strategy choose demonstrations, ask the VLM with them, and compare the answers' scores.

    >>> encode = ClipEncoder.load("openai/clip-vit-base-patch32").features
    >>> evaluate_selectors({"SFT": policy}, queries, pools, train, encode, backend, VqaAccuracy()).comparison

    policies: name → selector that was trained on this encoder's embeddings. The first is a reference, as is random
    choice; the last gets the shuffled-label control.
    pools: query row → rows of ``library``, for each of ``queries``. ``config.num_queries`` and ``config.subset``
    are not looked at: the queries are those given.
    prices: strategy → the prompts that the training of its selector asked, for a column of the table.
    similarities: those to compare at ``config.compare_shots``; the last is a reference, at every number of shots.
    embeddings: [N, D], of every row of ``library``, as ``encode`` would give them, if they are there already.

    Raises ``UserError`` without queries, ``ValueError`` for a query without a pool.
    """
    config = config or EvaluationConfig()
    require_queries(queries)
    if without := [query.row for query in queries if query.row not in pools]:
        raise ValueError(f"query {without[0]} has no pool")
    pools = {query.row: pools[query.row] for query in queries}  # features follow the queries' order
    selections = select(
        policies, queries, pools, library, encode, backend, config, similarities, embeddings, on_progress
    )
    outcomes = evaluate(selections, queries, pools, library, backend, metric, on_progress)
    references = ("random", *(f"{kind} similarity" for kind in similarities[-1:]), *list(policies)[:1])
    kinds = kinds_of([query.question_type for query in queries], [query.answer_type for query in queries])
    comparison = compare(
        outcomes, config, references, metric.name, list(policies)[-1:], prices=prices, kinds=kinds
    )
    return Evaluation(outcomes, comparison)
