"""The partitions of every asset: (dataset, sampler and model), from the catalog."""

from __future__ import annotations

import dagster as dg

from icd_assets.experiment.catalog import Catalog
from icd_assets.runtime.home import load_env_file

load_env_file()  # before the catalog, whose paths it may move
CATALOG = Catalog.load()

partitions = dg.MultiPartitionsDefinition(
    {
        "dataset": dg.StaticPartitionsDefinition(list(CATALOG.datasets)),
        "sampler_model": dg.StaticPartitionsDefinition(
            list(dict.fromkeys(cell.sampler_model for cell in CATALOG.cells))
        ),
    }
)
