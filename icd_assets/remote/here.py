"""The artifacts of a results root and of the other seeds within, by the place that a remote knows them by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from icd_assets.lineage.chain import Chains
from icd_assets.lineage.records import Records
from icd_assets.remote import layout
from icd_assets.store.manifest import Manifest
from icd_assets.store.names import PRIVATE, SEEDS, results_of_seed
from icd_assets.store.store import Store


@dataclass(frozen=True)
class Artifact:
    """One that is complete here. ``place`` is its manifest's, relative to the first results root."""

    place: str
    store: Store
    path: Path
    manifest: Manifest


@dataclass
class Here:
    """One look at a results root."""

    store: Store
    _stores: dict[int | None, Store] = field(default_factory=dict)
    _chains: dict[int | None, Chains] = field(default_factory=dict)

    @cached_property
    def artifacts(self) -> dict[str, Artifact]:
        """Place → artifact, the oldest first."""
        found = [one for seed in (None, *self._seeds()) for one in self._of(seed)]
        found.sort(key=lambda one: one.manifest.created_at)
        return {one.place: one for one in found}

    @cached_property
    def broken(self) -> list[str]:
        """Sentences about manifests that could not be read."""
        assert self.artifacts is not None
        return [why for chains in self._chains.values() for why in chains.records.broken.values()]

    def locate(self, place: str) -> tuple[Store, Path]:
        """The results root in which the manifest of ``place`` lies, and its path."""
        seed, inner = layout.seed_of(place)
        store = self.store_of(seed)
        return store, store.root / inner

    def store_of(self, seed: int | None) -> Store:
        if seed not in self._stores:
            self._stores[seed] = self.store if seed is None else Store(results_of_seed(self.store.root, seed))
        return self._stores[seed]

    def behind(self, artifact: Artifact) -> list[Manifest]:
        """The manifests of all that it was made from, as far as they are known here."""
        seed, _ = layout.seed_of(artifact.place)
        nodes = self._chains[seed].of(artifact.manifest).walk()[1:]
        found = [node.manifest for node in nodes if node.manifest is not None]
        return list({(one.build, one.data_version): one for one in found}.values())

    def _of(self, seed: int | None) -> Iterator[Artifact]:
        store = self.store_of(seed)
        self._chains[seed] = Chains(records := Records(store))
        for inner, manifest in records.live.items():
            place = inner if seed is None else f"{SEEDS}/{seed}/{inner}"
            if layout.is_place(place):
                yield Artifact(place, store, store.root / inner, manifest)

    def _seeds(self) -> list[int]:
        names = (path.parent.name for path in self.store.root.glob(f"{SEEDS}/*/{PRIVATE}"))
        return sorted(int(name) for name in names if re.fullmatch("[0-9]{1,10}", name))
