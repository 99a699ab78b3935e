"""Strategies without training that reviewers ask for: one file each, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from icd_assets.evaluation.baselines.asked import Asked
from icd_assets.evaluation.baselines.bm25 import bm25
from icd_assets.evaluation.baselines.dpp import dpp
from icd_assets.evaluation.baselines.mmr import mmr
from icd_assets.evaluation.baselines.same_type import same_type
from icd_assets.evaluation.baselines.vote_k import vote_k
from icd_assets.evaluation.selections import Selection

# By its name in ``evaluation.config.BASELINES``. None: the data set has not what the strategy looks at.
_STRATEGIES: Mapping[str, Callable[[Asked], Selection | None]] = {
    "mmr": mmr,
    "dpp": dpp,
    "bm25": bm25,
    "vote_k": vote_k,
    "same_type": same_type,
}


def baseline_selections(names: Iterable[str], asked: Asked) -> Iterator[Selection]:
    """Those of ``names`` that the data set allows, in the table's order."""
    chosen = set(names)
    for name, strategy in _STRATEGIES.items():
        if name in chosen and (selection := strategy(asked)) is not None:
            yield selection
