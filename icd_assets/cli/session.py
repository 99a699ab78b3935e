"""What the read-only commands share: the store, the catalog, and what a user's words mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icd_assets.cli.cells import cell_of, split_cells
from icd_assets.defs.runs.instance import enter_home
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.settings import Settings
from icd_assets.store.store import Store

_DEMO = ("demo", "rand_sampler", "tiny_vl")


@dataclass(frozen=True)
class Session:
    """One results root, looked at under one set of settings; nothing is made or fetched."""

    store: Store
    catalog: Catalog
    settings: Settings

    @classmethod
    def here(cls, settings: Settings | None = None, *, rehash: bool = False, home: bool = True) -> Session:
        """``settings``: the defaults, where none matter. ``home=False``: do without a folder that holds
        dagster.yaml, as for a file that lies anywhere."""
        try:
            enter_home()
        except UserError:
            if home:
                raise
        return cls(Store(results_root(), rehash=rehash), Catalog.load(), settings or Settings())

    def open(self, cell: Cell) -> Experiment:
        return Experiment(cell, self.settings, self.store, self.catalog, read_only=True)

    def cell(self, words: Sequence[str]) -> Cell:
        """A partition key, or dataset, sampler and model by name or alias, or the six arguments of train."""
        return cell_of(self.catalog, words)

    def cell_or_demo(self, words: Sequence[str]) -> Cell:
        """The same; of fewer than three names, those left out are the demo's."""
        short = len(words) < len(_DEMO) and not any("|" in word for word in words)
        return self.cell((*words, *_DEMO[len(words) :]) if short else words)

    def cells(self, words: Sequence[str]) -> list[Cell]:
        """Several, one after the other."""
        return [self.cell(one) for one in split_cells(words)]
