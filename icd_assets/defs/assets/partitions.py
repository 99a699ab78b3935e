"""The partitions of every asset: the cells that are there or were asked for, each under the key of ``Cell.key``.

Dagster keeps the list in its instance (:mod:`icd_assets.defs.runs.known_cells` fills it), so that the UI offers
what can be run, and not every combination of a dataset, a sampler and a model.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from icd_assets.defs.runs.known_cells import CELLS
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog


class Cells(dg.DynamicPartitionsDefinition):
    """The list in the instance; a run may name any cell of the catalog, and adds it."""

    def validate_partition_key(self, partition_key: str, context: Any) -> None:
        """Asked by ``dagster asset materialize --partition``, which cannot add a partition (#15499)."""
        try:
            Catalog.load().cell_of(partition_key)
        except UserError:
            super().validate_partition_key(partition_key, context)


partitions = Cells(name=CELLS)
