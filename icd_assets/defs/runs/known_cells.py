"""The cells that Dagster's instance knows as partitions: kept by name, added to by every process of ours.

A cell is added when a command or an automation works on it, when an artifact of it is on disk, or by a user in the
UI. None is taken away again: its history would be hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import IntegrityError

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.steps import STEP
from icd_assets.lineage.records import manifest_paths
from icd_assets.store.digests import sha256_json
from icd_assets.store.store import Store

CELLS = "cell"  # the name of the list in the instance; the UI shows it where it asks for a new one


def add_cells(instance: dg.DagsterInstance, keys: Iterable[str]) -> list[str]:
    """Make partitions of the cells that are none yet, and return those; another process may add the same."""
    known = set(instance.get_dynamic_partitions(CELLS))
    added = sorted(set(keys) - known)
    for key in added:  # one by one, so that what another process adds meanwhile fails alone
        with suppress(IntegrityError):  # SQLite; PostgreSQL's storage ignores what is there
            instance.add_dynamic_partitions(CELLS, [key])
    return added


def add_cells_of(instance: dg.DagsterInstance, store: Store, catalog: Catalog) -> list[str]:
    """Make partitions of all cells that have artifacts under a results root, or that the catalog's automation
    names; in an instance that knows none yet, of those in its history too, which may be older than this list."""
    found = {*cells_on_disk(store, catalog), *_asked_for(catalog)}
    if not instance.get_dynamic_partitions(CELLS):
        found |= {*cells_in_history(instance)}
    return add_cells(instance, found)


def cells_on_disk(store: Store, catalog: Catalog) -> Iterator[str]:
    """The keys of the catalog's cells that have a manifest; what cannot be read is another command's to report."""
    possible = {cell.key for cell in catalog.cells}
    for path in manifest_paths(store.root):
        with suppress(UserError):
            manifest = store.read(path)
            if manifest is not None and manifest.cell in possible:
                yield manifest.cell


def cells_in_history(instance: dg.DagsterInstance) -> Iterator[str]:
    """The keys of all cells of which the instance records a materialization."""
    for name in STEP:
        for key in instance.get_materialized_partitions(dg.AssetKey(name)):
            with suppress(ValueError):
                yield Cell.parse(key).key


def fingerprint(root: Path, catalog: Catalog) -> str:
    """Changes with the catalog's cells, and when a manifest comes or goes under ``root``; no manifest is read."""
    found = [str(path.relative_to(root)) for path in manifest_paths(root)]
    return sha256_json([str(root), found, _asked_for(catalog), [cell.key for cell in catalog.cells]])


def _asked_for(catalog: Catalog) -> list[str]:
    return [key for entry in catalog.automation.values() for key in entry.cells]
