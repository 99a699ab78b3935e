"""Beam data in both forms; what is accepted is written again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd_assets.scoring.beam_file import read_beams, write_beams

SUFFIX = ".json"


def seeds() -> Iterable[bytes]:
    yield b'{"7": {"id_list": [[1, 2, 7], [2, 1, 7]], "score_list": [0.5, -1e-3]}, "_meta": {}}'
    yield (
        b'{"7": {"id_list": [[1, 7]], "score_list": [0.5], "beams": [{"shots": [{"id": 1, "score": 0.5}], '
        b'"final_score": 0.5}]}}'
    )


def read(path: Path) -> object:
    beams = read_beams(path, rows=100)
    write_beams(path.with_suffix(".again"), beams)
    return beams
