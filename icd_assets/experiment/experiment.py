"""One cell at work: its catalog entries, its paths, and the artifacts that are there.

Nothing here computes an artifact; a look at a hundred cells is a few reads of JSON.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from icd_assets.datasets.captions import CaptionFiles, read_captions
from icd_assets.datasets.files import SplitFiles, locate_split
from icd_assets.datasets.vqa import VqaSplit, load_split
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.entries import DatasetEntry, EncoderEntry, ModelEntry
from icd_assets.experiment.paths import CellPaths
from icd_assets.experiment.settings import Settings
from icd_assets.experiment.steps import STEP
from icd_assets.pools.config import PoolConfig
from icd_assets.scoring.rewards import RewardConfig, needs_gt_prob, suffix
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Input, Manifest
from icd_assets.store.names import manifest_beside, manifest_in
from icd_assets.store.store import Store
from icd_assets.vlm.weights import locate, weights_digest


class MissingInput(Exception):
    """An input artifact has not been made yet."""

    def __init__(self, asset: str) -> None:
        super().__init__(asset)
        self.asset = asset


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

    @classmethod
    def open(cls, cell: Cell, settings: Settings, root: Path, catalog: Catalog | None = None) -> Experiment:
        return cls(cell, settings, Store(root), catalog or Catalog.load())

    @cached_property
    def dataset(self) -> DatasetEntry:
        return self.catalog.datasets[self.cell.dataset]

    @cached_property
    def model(self) -> ModelEntry:
        """The cell's model, prompted for the dataset's task."""
        return self.catalog.prompted(self.cell.model, self.dataset.task)

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
        )

    @cached_property
    def reward(self) -> RewardConfig:
        return self.settings.reward.for_task(self.dataset.task)

    @cached_property
    def reward_suffix(self) -> str:
        return suffix(self.reward)

    def config(self, asset: str) -> Any:
        """The complete config of one step (an instance of ``STEP[asset].config``)."""
        return self.settings.config(asset, self.dataset.settings)

    # ---- the outside world: dataset files and weights ------------------------------------------------

    def prepare(self) -> None:
        """Write what is missing of a dataset that can be generated (the catalog's ``prepare``)."""
        if self.dataset.prepare is not None and not self.read_only:
            module, function = self.dataset.prepare.split(":")
            getattr(importlib.import_module(module), function)(self.dataset.train, self.dataset.validation)

    @cached_property
    def train(self) -> VqaSplit:
        return self._split("train")

    @cached_property
    def validation(self) -> VqaSplit:
        return self._split("validation")

    def _split(self, name: str) -> VqaSplit:
        self.prepare()
        dataset, files = self.cell.dataset, self._files(name)
        if isinstance(files, CaptionFiles):
            return read_captions(dataset, name, Path(files.captions), files.images, files.split)
        source = locate_split(files, f"the {name} split of {dataset}")
        return load_split(
            dataset,
            name,
            source.questions,
            source.annotations,
            files.images,
            self.dataset.answer,
            digests=self.store.digests,
            folder=self.store.private / "datasets",
        )

    def _files(self, split: str) -> SplitFiles | CaptionFiles:
        return self.dataset.train if split == "train" else self.dataset.validation

    def source_files(self, split: str) -> list[Path]:
        """The files whose bytes decide a split's rows."""
        files, what = self._files(split), f"the {split} split of {self.cell.dataset}"
        if not isinstance(files, CaptionFiles):
            return locate_split(files, what).paths
        if not Path(files.captions).is_file():
            moved_by = f"set {' or '.join(files.variables)}" if files.variables else "fix the catalog"
            raise UserError(f"{what} was not found as {files.captions}; put the file there, or {moved_by}.")
        return [Path(files.captions)]

    def subset_path(self) -> Path:
        """The file that lists the validation questions of ``evaluation.subset``."""
        files, dataset = self._files("validation"), self.cell.dataset
        if isinstance(files, CaptionFiles) or files.subset is None:
            raise UserError(
                f"evaluation.subset is set, but the catalog names no subset of {dataset}'s validation split; "
                "unset it, or name the file under validation.subset."
            )
        if not (path := Path(files.subset)).is_file():
            raise UserError(f"evaluation.subset is set, but {path} does not exist; put it there, or unset that.")
        return path

    def dataset_digest(self, *splits: str) -> Input:
        """Of the splits' files, in the layout that is there, and of the answers taken from them."""
        self.prepare()
        paths = [path for split in splits for path in self.source_files(split)]
        digest = self.store.digests.files(paths)
        if self.dataset.answer != "official":
            digest = sha256_json([digest, self.dataset.answer])
        files = [self._files(split) for split in splits]
        if parts := [own.split for own in files if isinstance(own, CaptionFiles)]:  # of a file of all splits
            digest = sha256_json([digest, parts])
        return Input(data_version=digest)

    def encoder(self, name: str) -> EncoderEntry:
        return self.catalog.encoders[name]

    def asks_vlm(self, asset: str) -> bool:
        """Whether making an artifact needs the VLM; RL data that are the user's own do not."""
        return STEP[asset].vlm and not (asset == "rl_data" and self.config(asset).path is not None)

    def scores_answers(self, asset: str) -> bool:
        """Whether a step that asks the VLM also needs likelihoods of answers that it would not give."""
        if asset == "rl_data":
            return self.config(asset).gt_prob or needs_gt_prob(self.reward)
        return asset == "beam_data" or bool(self.config(asset).oracle_beams)

    def vlm(self) -> Input:
        """The weights of the cell's VLM, for a step that asks it; of a served one, its name and pins."""
        if self.model.unsupported is not None:
            raise UserError(f"{self.model.name} cannot be asked: {self.model.unsupported}.")
        if self.model.endpoint is not None:
            return Input(data_version=self.model.endpoint.digest)
        return self.weights_of(self.model)

    def needs_gpu(self, asset: str) -> bool:
        """Whether making an artifact keeps a GPU of this machine busy. Where a server answers, what is left to
        do here is small (a selector, one pass of CLIP): held for hours, a GPU would idle, or be the server's."""
        return STEP[asset].gpu and not (self.model.endpoint is not None and self.asks_vlm(asset))

    def weights_of(self, entry: EncoderEntry | ModelEntry) -> Input:
        assert entry.path is not None, f"{entry.name} is served elsewhere"
        folder = locate(entry.path, entry.revision, fetch=not self.read_only)
        return Input(data_version=weights_digest(folder, self.store.digests))

    # ---- artifacts ---------------------------------------------------------------------------------

    def manifest_path(self, asset: str) -> Path:
        """Beside the artifact: ``<file>.manifest.json``, or ``<asset>.manifest.json`` in its folder."""
        paths = self.paths
        files = {
            "candidate_pools": paths.train_pools,
            "beam_data": paths.beam_data,
            "v2_checkpoint": paths.v2_checkpoint,
            "embeddings": paths.query_embeddings,
            "rl_data": paths.rl_data,
        }
        if asset in files:
            return manifest_beside(files[asset])
        folder = (
            paths.evaluation(self.reward_suffix) if asset == "evaluation" else paths.v3_folder(self.reward_suffix)
        )
        return manifest_in(folder, asset)

    def manifest(self, asset: str) -> Manifest | None:
        return self.store.read(self.manifest_path(asset))

    def files(self, asset: str) -> list[Path]:
        """The files of an artifact that must exist, verified."""
        return self.store.files(self.store.require(self.manifest_path(asset), asset))

    def facts(self, asset: str) -> dict[str, Any]:
        return self.store.require(self.manifest_path(asset), asset).facts

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

    def pools_as_made(self) -> PoolConfig:
        """The config that the train pools were made with, for a query of another split."""
        manifest = self.store.require(self.manifest_path("candidate_pools"), "candidate_pools")
        known = {name: value for name, value in manifest.spec.config.items() if name in PoolConfig.model_fields}
        shared = self.settings.shared
        return PoolConfig(**known | {"pool_size": shared.pool_size, "seed": shared.seed})

    def trained_on_todays_rce(self) -> bool:
        """Whether the GRPO checkpoints on disk come from the RCE checkpoints on disk."""
        grpo, rce = self.manifest("grpo_checkpoints"), self.manifest("rce_checkpoints")
        return (
            grpo is not None and rce is not None and grpo.spec.digests.get("rce_checkpoints") == rce.data_version
        )

    def phase_to_convert(self) -> str:
        """``rce`` or ``grpo``: what becomes the v2-format checkpoint."""
        source = self.config("v2format_checkpoint").source
        if source != "auto":
            return str(source)
        return "grpo" if self.trained_on_todays_rce() else "rce"

    @property
    def needs_beams(self) -> bool:
        """Whether the recipe has beam data: only the training of a v2 checkpoint reads them."""
        return self.importable_v2() is None

    def importable_v2(self) -> Path | None:
        """The user's own v2 checkpoint, or None if one is to be trained (SPEC A.3, without its lottery)."""
        config = self.config("v2_checkpoint")
        if config.source == "train":
            return None
        if config.checkpoint is not None:
            path = Path(config.checkpoint)
            if not path.is_file():
                raise UserError(f"LEVER_LM_CHECKPOINT_PATH={path} does not exist; fix or unset it.")
            return path.absolute()
        manifest = self.manifest("v2_checkpoint")
        adopted = manifest if manifest is not None and manifest.origin == "adopted" else None
        if adopted is not None and (chosen := self.store.resolve(adopted.files[0])).is_file():
            return chosen  # whatever else lies there
        trained_here = manifest is not None and manifest.origin == "made"
        ours = {self.store.resolve(record) for record in manifest.files} if manifest and trained_here else set()
        best = self.paths.v2_checkpoint
        if best.is_file() and best not in ours:
            return best
        found = [
            path
            for path in sorted(self.paths.v2_folder.glob(f"*{self.cell.sampler}*.ckpt"))
            if path not in ours and self.model.safe_name in path.name
        ]
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:4])
            raise UserError(
                f"{self.paths.v2_folder} holds {len(found)} v2 checkpoints of this cell ({names}); "
                "name one with LEVER_LM_CHECKPOINT_PATH."
            )
        if not found and config.source == "import":
            raise UserError(f"{self.paths.v2_folder} holds no v2 checkpoint of this cell to import.")
        return found[0] if found else None


def results_root() -> Path:
    """``$RESULT_DIR``, or ``results`` in the working directory (SPEC A.2)."""
    return Path(os.environ.get("RESULT_DIR") or "results").expanduser().absolute()
