"""Which strategies an evaluation compares, at which numbers of shots: one place to read, and to add one.

Legend: `Q` queries, `M` rows that some pool offers, `K` pool, `D` embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from icd_assets.evaluation.baselines import baseline_selections
from icd_assets.evaluation.baselines.asked import Asked
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.oracle import best_in_pool
from icd_assets.evaluation.selections import Selection
from icd_assets.evaluation.strategies import (
    SimilarityOf,
    random_selection,
    shuffled_labels,
    similarity_selection,
    zero_shot,
)
from icd_assets.evaluation.whole_library import library_selections
from icd_assets.pools.rows import candidate_rows
from icd_assets.pools.similarity import Features, SamplerFeatures
from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.scoring.infoscore import BeamConfig
from icd_assets.selector.decoding import greedy
from icd_assets.selector.encoder import combine

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.selector.model import PointerSelector
    from icd_assets.vlm.backend import Backend

# (text [n, D], image [n, D]) of n items: ``ClipEncoder.features``.
Encode = Callable[[Sequence["VqaItem"]], tuple[Features, Features]]


def select(
    policies: Mapping[str, PointerSelector],
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    encode: Encode,
    backend: Backend,
    config: EvaluationConfig,
    similarities: Sequence[SimilarityOf],
    embeddings: Tensor | None = None,
    on_progress: OnProgress = ignore,
) -> list[Selection]:
    """All strategies at the main number of shots; at the others those worth following.

    ``pools`` has the queries' order. Of ``similarities`` the last is followed; of ``policies`` the last is the one
    that the shuffled-label control is made of. ``embeddings`` [N, D] are the library's; without them, what is
    needed is encoded. Only the oracle asks ``backend``.
    """
    offered = candidate_rows(pools)  # encode what pools offer, not a whole split
    place = {row: index for index, row in enumerate(offered)}
    places = {row: [place[id] for id in pool] for row, pool in pools.items()}  # of the K candidates, among the M
    of_queries = SamplerFeatures(*encode(queries))
    of_offered = SamplerFeatures(*encode([library[row] for row in offered]))
    query, candidates = _embedded(of_queries), _embedded(of_offered)

    def embed(rows: Sequence[int]) -> Tensor:
        if embeddings is not None:
            return embeddings[list(rows)]
        return _embedded(SamplerFeatures(*encode([library[row] for row in rows])))

    selections = [zero_shot(list(pools))]
    for shots in config.all_shots:
        main = shots == config.compare_shots
        selections.append(random_selection(pools, shots, config.seed))
        for kind in similarities if main else similarities[-1:]:
            selections.append(similarity_selection(kind, places, shots, of_queries, of_offered))
        if main:
            asked = Asked(
                queries,
                pools,
                places,
                library,
                query.numpy(),
                candidates.numpy(),
                lambda rows: embed(rows).numpy(),
                shots,
                config.seed,
            )
            selections += baseline_selections(config.baselines, asked)
        for name, policy in policies.items():
            selections.append(greedy_selection(name, policy, places, shots, query, candidates))
        if main and policies:
            selections.append(shuffled_labels(selections[-1], pools, library, config.seed))
        if main and policies and config.library_candidates:
            whole = embed(range(len(library))) if embeddings is None else embeddings
            selections += library_selections(
                policies, queries, pools, library, query, whole, shots, config.library_candidates
            )
        if main and config.oracle_beams:
            search = BeamConfig(beam_size=config.oracle_beams, shots=shots, expand=config.oracle_expand)
            tried = queries[: config.oracle_queries]
            selections.append(best_in_pool(tried, pools, library, backend, search, on_progress))
    return selections


def greedy_selection(
    name: str,
    policy: PointerSelector,
    places: Mapping[int, Sequence[int]],
    shots: int,
    query: Tensor,
    candidates: Tensor,
) -> Selection:
    """A policy's greedy pointers, in the order picked, which is prompt order as in training.

    query: [Q, D], in the order of ``places``: query row → the K places of its pool in candidates: [M, D].
    """
    device = next(policy.parameters()).device
    pointers = {}
    for index, (row, own) in enumerate(places.items()):
        asked = query[index : index + 1].to(device)  # one by one: a matrix product rounds differently by batch
        offered = candidates[list(own)][None].to(device)  # [1, K, D]
        pointers[row] = tuple(greedy(policy, asked, offered, shots)[0].tolist())
    return Selection(name, shots, pointers)


def _embedded(features: SamplerFeatures) -> Tensor:
    """What the selector sees of the same items [n, D]."""
    return combine(torch.from_numpy(features.text), torch.from_numpy(features.image))
