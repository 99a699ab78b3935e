"""The experiments of one cell that are on disk: one for each reward and name that its folders say."""

from __future__ import annotations

from dataclasses import replace
from glob import escape

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.paths import v3_prefix
from icd_assets.store.names import MANIFEST

_KINDS = ("model_cpk", "icl_inference")


def variants(experiment: Experiment) -> list[Experiment]:
    """Those with artifacts in a folder of their own, each with its reward and its name, sorted by folder.

    What all of them share (pools, beams, the v2 checkpoint, embeddings, RL data) is the same in each.
    """
    cell, root = experiment.cell, experiment.store.root / experiment.cell.dataset
    prefix = v3_prefix(cell)
    prefixes = (v3_prefix(replace(cell, model=name)) for name in experiment.catalog.models)
    others = [other for other in prefixes if other.startswith(f"{prefix}_")]
    found = {}
    for path in sorted(path for kind in _KINDS for path in root.glob(f"{kind}/{escape(prefix)}*/*{MANIFEST}")):
        folder = path.parent.name
        suffix = folder.removeprefix(prefix)
        if not folder.startswith(prefix) or (suffix and not suffix.startswith("_")):
            continue
        if any(folder == other or folder.startswith(f"{other}_") for other in others):
            continue  # of a model whose name begins alike
        try:
            found[suffix] = experiment.in_folder(suffix)
        except UserError:  # a hand-made name, or a reward of another task
            continue
    return [found[suffix] for suffix in sorted(found)]
