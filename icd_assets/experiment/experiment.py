"""One cell at work: its catalog entries, its settings, its paths, and the artifacts that are there.

Nothing here computes an artifact; the state of a hundred cells is a few reads of JSON.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from icd_assets.errors import MissingInput, UserError
from icd_assets.experiment import folder_name
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.catalog_entries import DatasetEntry, EncoderEntry, ModelEntry
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.cell_data import CellData
from icd_assets.experiment.paths import CellPaths, v3_prefix
from icd_assets.experiment.recipes import own_rl_rows
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.steps import STEP
from icd_assets.runtime.home import local_folder
from icd_assets.scoring.rewards import RewardConfig
from icd_assets.store.known import Known
from icd_assets.store.manifest import Input, Manifest
from icd_assets.store.store import Store
from icd_assets.tasks import TASKS, Task
from icd_assets.vlm.weights import locate, weights_digest


@dataclass(frozen=True)
class Experiment:
    """One cell with its settings, under one results root.

    >>> experiment.manifest("rl_data")       # what is there, or None
    >>> experiment.files("rl_data")          # its files, verified
    """

    cell: Cell
    settings: Settings
    store: Store
    catalog: Catalog
    read_only: bool = False  # nothing of the outside world is written or fetched
    known: Known[Input] | None = None  # shared by experiments that are judged together
    folder: str | None = None  # what its v3 folders end in, where not the settings say it

    @classmethod
    def open(cls, cell: Cell, settings: Settings, root: Path, catalog: Catalog | None = None) -> Experiment:
        return cls(cell, settings, Store(root), catalog or Catalog.load())

    def as_read_only(self) -> Experiment:
        return replace(self, read_only=True)

    @cached_property
    def dataset(self) -> DatasetEntry:
        return self.catalog.datasets[self.cell.dataset]

    @property
    def task(self) -> Task:
        return TASKS[self.dataset.task]

    @cached_property
    def data(self) -> CellData:
        """The dataset's files and splits."""
        return CellData(self.dataset, self.store, self.read_only, self.known)

    @cached_property
    def model(self) -> ModelEntry:
        """The cell's model, prompted for the dataset's task."""
        return self.catalog.prompted(self.cell.model, self.dataset.task)

    def encoder(self, name: str) -> EncoderEntry:
        return self.catalog.encoders[name]

    @cached_property
    def paths(self) -> CellPaths:
        shared = self.settings.shared
        return CellPaths(
            self.store.root,
            self.cell,
            self.dataset,
            self.model,
            shots=shared.shots,
            pool_size=shared.pool_size,
            beam_size=shared.beam_size,
            seed=shared.seed,
            suffix=lambda: self.suffix,
            name=shared.name,
            own_rl_rows=lambda: own_rl_rows(self),
        )

    @cached_property
    def reward(self) -> RewardConfig:
        return self.task.reward(self.settings.reward)

    @cached_property
    def suffix(self) -> str:
        """What tells its v3 folders from those of the cell's other rewards and experiments."""
        if self.folder is not None:
            return self.folder
        shared, prefix = self.settings.shared, v3_prefix(self.cell)
        folder = self.store.root / self.cell.dataset / "model_cpk" / prefix
        reward = folder_name.reward_part(self.reward, shared.reward_suffix, shared.name, folder)
        if shared.name is None:
            return reward
        others = (replace(self.cell, model=name) for name in self.catalog.models if name != self.cell.model)
        folder_name.require_own(prefix, reward, shared.name, map(v3_prefix, others))
        return f"{reward}_{shared.name}"

    def in_folder(self, suffix: str) -> Experiment:
        """The cell's experiment whose v3 folders end in ``suffix``, with the reward and the name that it says.

        Raises ``UserError`` if it says none of the dataset's rewards, or no name that an experiment can have."""
        part, name = folder_name.split(suffix)
        shared = {"reward_suffix": part or None, "name": name and folder_name.checked_name(name)}
        settings = self.settings.model_copy(update={"shared": self.settings.shared.model_copy(update=shared)})
        if not folder_name.means(part, self.reward):
            settings = settings.model_copy(update={"reward": folder_name.reward_of(part)})
        found = replace(self, settings=settings, folder=suffix)
        if not folder_name.means(part, found.reward):
            raise UserError(f"{suffix!r} in the folder's name says no reward of the task {self.dataset.task}.")
        return found

    def config(self, asset: str) -> Any:
        """The complete config of one step (an instance of ``STEP[asset].config``)."""
        return self.settings.config(asset, self.dataset.settings)

    def vlm(self) -> Input:
        """What the cell's VLM is, for a step that asks it: its weights, or of a served one its name and pins."""
        if self.model.unsupported is not None:
            raise UserError(f"{self.model.name} cannot be asked: {self.model.unsupported}.")
        backend = self.model.backend

        def version() -> Input:
            return Input(data_version=backend.digest(self.store.digests, fetch=not self.read_only))

        return version() if self.known is None else self.known.get(("vlm", self.model.name), version)

    def weights_of(self, entry: EncoderEntry) -> Input:
        """The weights of an encoder."""
        path, revision = entry.path, entry.revision

        def hashed() -> Input:
            folder = locate(path, revision, fetch=not self.read_only)
            return Input(data_version=weights_digest(folder, self.store.digests))

        return hashed() if self.known is None else self.known.get((path, revision), hashed)

    # ---- artifacts ---------------------------------------------------------------------------------

    def manifest_path(self, asset: str) -> Path:
        return STEP[asset].place(self.paths)

    def manifest(self, asset: str) -> Manifest | None:
        return self.store.read(self.manifest_path(asset))

    def files(self, asset: str) -> list[Path]:
        """The files of an artifact that must exist, verified."""
        return self.store.files(self.store.require(self.manifest_path(asset), asset))

    def facts(self, asset: str) -> dict[str, Any]:
        return self.store.require(self.manifest_path(asset), asset).facts

    def fact(self, asset: str, name: str) -> Any:
        return self.store.require(self.manifest_path(asset), asset).fact(name)

    def input(self, asset: str) -> Input:
        """An upstream artifact as an input: exactly the one on disk, never "the latest run"."""
        if (manifest := self.manifest(asset)) is None:
            raise MissingInput(asset)
        return self.as_input(asset, manifest, manifest.data_version)

    def as_input(self, asset: str, manifest: Manifest, data_version: str) -> Input:
        return Input(
            data_version=data_version,
            manifest=str(self.manifest_path(asset).relative_to(self.store.root)),
            run_id=manifest.run_id,
            created_at=manifest.created_at,
        )


def results_root() -> Path:
    """``$RESULT_DIR``, or ``results`` in the working directory (SPEC A.2)."""
    return local_folder(os.environ.get("RESULT_DIR") or "results", "RESULT_DIR")
