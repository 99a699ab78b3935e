"""The selector that a cell trained, with the cell's whole train split to choose from."""

from __future__ import annotations

from typing import NamedTuple

from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import last_trained, stage_name
from icd_assets.use.selector import Library, Selector


class CellSelector(NamedTuple):
    """``name``: as the evaluation's table calls it."""

    name: str
    library: Library


def of_cell(experiment: Experiment, *, device: str = "cpu") -> CellSelector:
    """The last selector that the recipe trained; of Lever-Plus' the recommended one, in its v2-format file.

    Raises ``UserError`` where the cell has none yet.
    """
    own = last_trained(experiment)
    asset = own or "v2format_checkpoint"
    if experiment.manifest(asset) is None or experiment.manifest("embeddings") is None:
        raise UserError(f"{experiment.cell} has no trained selector yet; run icd-assets train for it.")
    source = experiment.paths.selector(asset) if own else experiment.files(asset)[0]
    selector = Selector.load(source, encoder=experiment.dataset.encoder, device=device)
    name = stage_name(own, selector.policy.config.architecture) if own else "the recommended selector"
    return CellSelector(name, selector.open_index(experiment.files("embeddings")[0]))
