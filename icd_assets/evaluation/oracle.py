"""The best demonstrations in each pool, found with the true answer in hand: what a selector could reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from icd_assets.evaluation.selections import ORACLE, Selection
from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.scoring.collect_beams import collect_beams
from icd_assets.scoring.infoscore import BeamConfig

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.vlm.backend import Backend


def best_in_pool(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    backend: Backend,
    search: BeamConfig,
    on_progress: OnProgress = ignore,
) -> Selection:
    """Of each query the sequence of highest InfoScore; ``pools``: query row → rows of ``library``."""
    beams = collect_beams(queries, pools, library, backend, search, on_progress=on_progress)
    pointers = {
        row: tuple(list(pools[row]).index(id) for id in found.beams[0].icds) for row, found in beams.items()
    }
    return Selection(ORACLE, search.shots, pointers)
