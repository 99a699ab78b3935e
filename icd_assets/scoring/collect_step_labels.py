"""Step labels of many queries, a chunk at a time.

Each distinct prompt of a query is asked once: a prefix is itself a labelled pick after the one before. The prompts
after no pick are those of InfoScore's first step, so behind a store of answers neither asks what the other did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, assert_never

from icd_assets.errors import UserError
from icd_assets.runtime.progress import OnProgress, counting, ignore
from icd_assets.scoring.asking import Asker
from icd_assets.scoring.chunks import map_chunks
from icd_assets.scoring.infoscore import require_pools
from icd_assets.scoring.step_labels import Label, Prefix, StepLabels, prompts_of

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.scoring.asking import Asked
    from icd_assets.scoring.metric import Metric
    from icd_assets.vlm.backend import Backend


def collect_step_labels(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    backend: Backend,
    prefixes: Mapping[int, Sequence[Prefix]],
    *,
    label: Label = "likelihood",
    metric: Metric | None = None,
    best_score: float = 1.0,
    chunk: int = 64,
    on_progress: OnProgress = ignore,
) -> dict[int, list[StepLabels]]:
    """Query row → its labels after each of its ``prefixes``, in their order; a query without prefixes has none.

    pools: query row → rows of ``library``. ``metric`` judges answers where the label is their accuracy, as a share
    of ``best_score``, the largest that it gives. ``chunk`` queries share the VLM's batches; it decides the speed
    and nothing else. Progress counts prompts. A prefix after which every prompt was refused is left out, and so is
    a query without any other.
    """
    if (metric is None) != (label == "likelihood"):
        raise ValueError(f"label {label} {'needs a' if metric is None else 'knows no'} metric")
    asked = [query for query in queries if prefixes.get(query.row)]
    _require_prefixes(asked, pools, library, prefixes)
    total = sum(prompts_of(len(pools[query.row]), prefixes[query.row]) for query in asked)
    on_progress = counting(on_progress, "prompts", total)
    asker = Asker(library, backend, on_progress, total)
    of_chunk = partial(
        step_labels_of_chunk,
        pools=pools,
        asker=asker,
        prefixes=prefixes,
        label=label,
        metric=metric,
        best_score=best_score,
    )
    found = {steps[0].row: steps for steps in map_chunks(of_chunk, asked, chunk) if steps}
    if asked and not found:
        raise UserError("the server refused every prompt of the labels; ask another model or other questions.")
    on_progress(total, total)
    return found


def step_labels_of_chunk(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    asker: Asker,
    prefixes: Mapping[int, Sequence[Prefix]],
    label: Label,
    metric: Metric | None,
    best_score: float,
) -> list[list[StepLabels]]:
    """Of each query its labels: what :mod:`icd_assets.scoring.chunks` says of such a function holds."""
    sequences = [
        (query, sequence)
        for query in queries
        for sequence in dict.fromkeys(_sequences(prefixes[query.row], len(pools[query.row])))
    ]
    shown = [(query, tuple(pools[query.row][place] for place in sequence)) for query, sequence in sequences]
    values = _values(asker, shown, label, metric, best_score)
    known: dict[int, dict[Prefix, float | None]] = {query.row: {} for query in queries}
    for (query, sequence), value in zip(sequences, values, strict=True):
        known[query.row][sequence] = value
    return [_steps(query.row, prefixes[query.row], len(pools[query.row]), known[query.row]) for query in queries]


def _sequences(prefixes: Sequence[Prefix], pool: int) -> Iterator[Prefix]:
    """Each prefix, then with each further candidate."""
    for prefix in prefixes:
        yield prefix
        yield from ((*prefix, place) for place in range(pool) if place not in prefix)


def _values(
    asker: Asker, shown: Sequence[Asked], label: Label, metric: Metric | None, best_score: float
) -> Sequence[float | None]:
    match label:
        case "likelihood":
            return asker.probabilities(shown)
        case "accuracy":
            assert metric is not None, "collect_step_labels asks for one"
            scores = asker.scores(shown, metric)
            return [None if score is None else score / best_score for score in scores]
        case _:
            assert_never(label)


def _steps(
    row: int, prefixes: Sequence[Prefix], pool: int, known: Mapping[Prefix, float | None]
) -> list[StepLabels]:
    steps = [
        StepLabels(row, prefix, tuple(known.get((*prefix, place)) for place in range(pool)), known[prefix])
        for prefix in dict.fromkeys(prefixes)
    ]
    return [step for step in steps if any(value is not None for value in step.values)]


def _require_prefixes(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    prefixes: Mapping[int, Sequence[Prefix]],
) -> None:
    for query in queries:
        own = prefixes[query.row]
        require_pools([query], pools, library, 1 + max(map(len, own)))
        pool = len(pools[query.row])
        for prefix in own:
            if len(set(prefix)) < len(prefix) or not all(0 <= place < pool for place in prefix):
                raise ValueError(f"query {query.row}: {prefix} are not different positions in a pool of {pool}")
