"""What the read-only commands share: the store, the catalog, and what a user's words mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icd_assets.defs.runs.instance import enter_home
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.settings import Settings, read_settings
from icd_assets.store.store import Store


@dataclass(frozen=True)
class Session:
    """One results root, looked at under one set of settings; nothing is made or fetched."""

    store: Store
    catalog: Catalog
    settings: Settings

    @classmethod
    def here(cls, settings: Settings | None = None, *, rehash: bool = False, home: bool = True) -> Session:
        """``home=False``: do without a folder that holds dagster.yaml, as for a file that lies anywhere."""
        try:
            enter_home()
        except UserError:
            if home:
                raise
        return cls(Store(results_root(), rehash=rehash), Catalog.load(), settings or read_settings())

    def open(self, cell: Cell) -> Experiment:
        return Experiment(cell, self.settings, self.store, self.catalog, read_only=True)

    def cell(self, words: Sequence[str]) -> Cell:
        """A partition key, or dataset, sampler and model by name or alias."""
        if len(words) == 1:
            try:
                found = Cell.parse(words[0])
            except ValueError as error:
                raise UserError(f"{error}; write it like 'okvqa|RandSampler/Qwen2_5-VL-3B-Instruct'.") from None
            words = (found.dataset, found.sampler, found.model)
        if len(words) != 3:
            raise UserError(
                "name one cell: its key, such as 'demo|RandSampler/tiny_vl', or dataset sampler model."
            )
        return self.catalog.cell(*words)
