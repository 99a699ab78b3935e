"""Which train rows the cell's v2 checkpoint was fitted to, and in what unit its answers are scored."""

from __future__ import annotations

from icd_assets.experiment.experiment import Experiment
from icd_assets.scoring.rewards import knows_correct

_CIDER = 10.0


def score_limit(experiment: Experiment) -> float:
    """The largest score of the task's metric."""
    return 1.0 if knows_correct(experiment.reward) else _CIDER


def fitted_rows(experiment: Experiment) -> frozenset[int]:
    """The anchors that the v2 checkpoint was fitted to, without its validation rows; none of an adopted."""
    from icd_assets.pools.files import read_pools

    made, pools = experiment.manifest("v2_checkpoint"), experiment.manifest("candidate_pools")
    if made is None or pools is None or made.origin != "made":
        return frozenset()
    path, size = experiment.store.files(pools)[0], experiment.settings.shared.pool_size
    rows = sorted(read_pools(path, n_rows=len(experiment.data.train), size=size))
    fraction = 1 - float(made.spec.config.get("val_fraction", 0.1))
    return frozenset(rows[: int(fraction * len(rows))])
