"""The same cell under other seeds: where each lies, and what they share.

The seed of the settings lies in the results root itself, where ``train`` without ``--seeds`` puts it; any other
lies in a results root of its own within, ``seeds/<seed>``. Two seeds would have the same paths for nearly
everything, so side by side in one root each would make the other's artifacts stale and replace them. The VLM's
answers, and what only saves time (features, parsed datasets, digests), are shared, so that no prompt is asked
twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import recipe_of
from icd_assets.experiment.v2_source import importable_v2
from icd_assets.store.names import SEEDS, results_of_seed
from icd_assets.store.store import Store


def read_seeds(text: str) -> tuple[int, ...]:
    """``42,43,44`` → (42, 43, 44)"""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if re.fullmatch("[0-9]{1,9}", word) is None:
            raise UserError(f"--seeds {text!r}: {word!r} is no seed; write numbers, e.g. --seeds 42,43,44.")
    seeds = [int(word) for word in words]
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise UserError(f"--seeds {text!r} names {seed} twice; name each seed once.")
    return tuple(seeds)


def of_seeds(experiment: Experiment, seeds: Sequence[int]) -> dict[int, Experiment]:
    """The experiment under each seed. A v2 checkpoint of the user's own is imported under all of them.

    Raises ``UserError`` if the folder of the other seeds would be that of a dataset.
    """
    if SEEDS in experiment.catalog.datasets:
        raise UserError(
            f"catalog: a dataset is named {SEEDS!r}, as the folder of other seeds is; rename it to use --seeds."
        )
    return {seed: _of_seed(experiment, seed) for seed in seeds}


def _of_seed(experiment: Experiment, seed: int) -> Experiment:
    settings = experiment.settings
    if seed == settings.shared.seed:
        return experiment
    explicit = dict(settings.explicit)
    if (own := importable_v2(experiment)) is not None:
        explicit["v2_checkpoint"] = {**explicit.get("v2_checkpoint", {}), "checkpoint": str(own)}
    # The recipe is that of the results root, whatever the other seed's own has.
    shared = settings.shared.model_copy(update={"seed": seed, "recipe": recipe_of(experiment)})
    return replace(
        experiment,
        settings=settings.model_copy(update={"shared": shared, "explicit": explicit}),
        store=Store(results_of_seed(experiment.store.root, seed)),
    )
