"""Beams of many queries, a chunk at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from icd_assets.runtime.progress import OnProgress, counting, ignore, within
from icd_assets.scoring.chunks import map_chunks
from icd_assets.scoring.infoscore import BeamConfig, QueryBeams, infoscore_beams

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaItem
    from icd_assets.vlm.backend import Backend


def collect_beams(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    backend: Backend,
    config: BeamConfig,
    *,
    chunk: int = 64,
    on_progress: OnProgress = ignore,
) -> dict[int, QueryBeams]:
    """Query row → its best sequences, in the queries' order; ``pools``: query row → rows of ``library``.

    ``chunk`` queries share the VLM's batches; it decides the speed and nothing else. Progress counts queries.
    """
    on_progress = counting(on_progress, "questions", len(queries))
    of_chunk = partial(
        beams_of_chunk, pools=pools, library=library, backend=backend, config=config, on_progress=on_progress
    )
    return {found.row: found for found in map_chunks(of_chunk, queries, chunk, on_progress)}


def beams_of_chunk(
    queries: Sequence[VqaItem],
    pools: Mapping[int, Sequence[int]],
    library: Sequence[VqaItem],
    backend: Backend,
    config: BeamConfig,
    on_progress: OnProgress = ignore,
) -> list[QueryBeams]:
    """Of each query its best sequences: what :mod:`icd_assets.scoring.chunks` says of such a function holds."""
    asked = within(on_progress, len(queries), "prompts")
    return [*infoscore_beams(queries, pools, library, backend, config, asked).values()]
