"""One cell at work: its catalog entries, its paths, and what each of its artifacts should be made of.

Nothing here computes an artifact; a plan over a hundred cells is a few reads of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from icd_assets.catalog import Catalog, DatasetEntry, EncoderEntry, ModelEntry
from icd_assets.cell import Cell
from icd_assets.datasets.vqa import VqaSplit, read_split
from icd_assets.errors import UserError
from icd_assets.paths import CellPaths
from icd_assets.pipeline import STEP, Settings
from icd_assets.pools import needs_features
from icd_assets.scoring.rewards import needs_gt_prob, suffix
from icd_assets.store import Input, Manifest, Store, Want
from icd_assets.weights import locate, weights_digest


class MissingInput(Exception):
    """An input artifact has not been made yet."""

    def __init__(self, asset: str) -> None:
        super().__init__(asset)
        self.asset = asset


@dataclass(frozen=True)
class Experiment:
    """One cell with its settings, under one results root.

    >>> experiment.want("rl_data").inputs["v2_checkpoint"].data_version
    >>> experiment.manifest("rl_data")       # what is there, or None
    """

    cell: Cell
    settings: Settings
    store: Store
    catalog: Catalog

    @classmethod
    def open(cls, cell: Cell, settings: Settings, root: Path, catalog: Catalog | None = None) -> Experiment:
        return cls(cell, settings, Store(root), catalog or Catalog.load())

    @cached_property
    def dataset(self) -> DatasetEntry:
        return self.catalog.datasets[self.cell.dataset]

    @cached_property
    def model(self) -> ModelEntry:
        return self.catalog.models[self.cell.model]

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
        )

    @cached_property
    def reward_suffix(self) -> str:
        return suffix(self.settings.reward)

    def config(self, asset: str) -> Any:
        """The complete config of one step (an instance of ``STEP[asset].config``)."""
        return self.settings.config(asset, self.dataset.settings)

    def with_explicit(self, asset: str, explicit: dict[str, Any]) -> Experiment:
        """The same experiment with one step's explicit settings replaced."""
        settings = self.settings.model_copy(update={"explicit": {**self.settings.explicit, asset: explicit}})
        return replace(self, settings=settings)

    # ---- the outside world: dataset files and weights ------------------------------------------------

    def prepare(self) -> None:
        """Write what is missing of a dataset that can be generated (the catalog's ``prepare``)."""
        if self.dataset.prepare is not None:
            module, function = self.dataset.prepare.split(":")
            getattr(importlib.import_module(module), function)(self.dataset.train, self.dataset.validation)

    @cached_property
    def train(self) -> VqaSplit:
        return self._split("train")

    @cached_property
    def validation(self) -> VqaSplit:
        return self._split("validation")

    def _split(self, name: str) -> VqaSplit:
        files = self.dataset.train if name == "train" else self.dataset.validation
        return read_split(self.cell.dataset, name, Path(files.questions), Path(files.annotations), files.images)

    def _dataset_digest(self, *splits: str) -> Input:
        self.prepare()
        paths = []
        for split in splits:
            files = self.dataset.train if split == "train" else self.dataset.validation
            paths += [Path(files.questions), Path(files.annotations)]
        for path in paths:
            if not path.is_file():
                raise UserError(f"{path} does not exist; put the {self.cell.dataset} files there or set its path.")
        return Input(data_version=self.store.digests.files(paths))

    def encoder(self, name: str) -> EncoderEntry:
        return self.catalog.encoders[name]

    def _weights(self, entry: EncoderEntry | ModelEntry) -> Input:
        return Input(data_version=weights_digest(locate(entry.path, entry.revision), self.store.digests))

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
            return files[asset].with_name(files[asset].name + ".manifest.json")
        folder = (
            paths.evaluation(self.reward_suffix) if asset == "evaluation" else paths.v3_folder(self.reward_suffix)
        )
        return folder / f"{asset}.manifest.json"

    def manifest(self, asset: str) -> Manifest | None:
        return self.store.read(self.manifest_path(asset))

    def files(self, asset: str) -> list[Path]:
        """The files of an artifact that must exist, verified."""
        return self.store.files(self.store.require(self.manifest_path(asset), asset))

    def facts(self, asset: str) -> dict[str, Any]:
        return self.store.require(self.manifest_path(asset), asset).facts

    def want(self, asset: str) -> Want:
        """What ``asset`` should be made of, given the inputs as they are now.

        Raises :class:`MissingInput` if one is not there, :class:`UserError` for the user's own files.
        """
        config, inputs = _WANTS[asset](self)
        config = json.loads(json.dumps(config))
        return Want(asset=asset, code_version=STEP[asset].code_version, config=config, inputs=inputs)

    def input(self, asset: str) -> Input:
        """An upstream artifact as an input: exactly the one on disk, never "the latest run"."""
        if (manifest := self.manifest(asset)) is None:
            raise MissingInput(asset)
        return self._input(asset, manifest, manifest.data_version)

    def _input(self, asset: str, manifest: Manifest, data_version: str) -> Input:
        return Input(
            data_version=data_version,
            manifest=str(self.manifest_path(asset).relative_to(self.store.root)),
            run_id=manifest.run_id,
            created_at=manifest.created_at,
        )

    def trained_on_todays_rce(self) -> bool:
        """Whether the GRPO checkpoints on disk come from the RCE checkpoints on disk."""
        grpo, rce = self.manifest("grpo_checkpoints"), self.manifest("rce_checkpoints")
        return (
            grpo is not None
            and rce is not None
            and grpo.want.inputs["rce_checkpoints"].data_version == rce.data_version
        )

    def phase_to_convert(self) -> str:
        """``rce`` or ``grpo``: what becomes the v2-format checkpoint."""
        source = self.config("v2format_checkpoint").source
        if source != "auto":
            return str(source)
        return "grpo" if self.trained_on_todays_rce() else "rce"

    def importable_v2(self) -> Path | None:
        """The user's own v2 checkpoint, or None if one is to be trained (SPEC A.3, without its lottery)."""
        config = self.config("v2_checkpoint")
        if config.source == "train":
            return None
        if config.checkpoint is not None:
            path = Path(config.checkpoint)
            if not path.is_file():
                raise UserError(f"LEVER_LM_CHECKPOINT_PATH={path} does not exist; mend or unset it.")
            return path.absolute()
        manifest = self.manifest("v2_checkpoint")
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


# ---- what each artifact is made of: (config that matters, inputs) ---------------------------------------

_Made = tuple[dict[str, Any], dict[str, Input]]


def _candidate_pools(e: Experiment) -> _Made:
    inputs = {"dataset": e._dataset_digest("train", "validation")}
    if needs_features(e.cell.sampler):
        inputs["sampler_encoder"] = e._weights(e.encoder(e.dataset.sampler_encoder))
    return {
        **e.config("candidate_pools").model_dump(),
        "sampler": e.cell.sampler,
        "sample_num": e.dataset.sample_num,
    }, inputs


def _vlm(e: Experiment) -> dict[str, Any]:
    """How the VLM is asked; part of the config of everything it answers."""
    keys = {"prompt", "dtype", "min_pixels", "max_pixels", "batch_size"}
    return {"vlm": e.model.model_dump(include=keys)}


def _beam_data(e: Experiment) -> _Made:
    inputs = {
        "candidate_pools": e.input("candidate_pools"),
        "dataset": e._dataset_digest("train"),
        "vlm": e._weights(e.model),
    }
    return {**e.config("beam_data").model_dump(), **_vlm(e)}, inputs


def _v2_checkpoint(e: Experiment) -> _Made:
    config = e.config("v2_checkpoint")
    if (path := e.importable_v2()) is not None:
        encoder = e._weights(e.encoder(e.dataset.encoder)) if _encoder_is_here(e) else None
        inputs = {"file": Input(data_version=e.store.digests.file(path))}
        return {"source": "import"}, inputs | ({"encoder": encoder} if encoder else {})
    return config.model_dump(exclude={"source", "checkpoint"}) | {"source": "train"}, {
        "candidate_pools": e.input("candidate_pools"),
        "beam_data": e.input("beam_data"),
        "dataset": e._dataset_digest("train"),
        "encoder": e._weights(e.encoder(e.dataset.encoder)),
    }


def _encoder_is_here(e: Experiment) -> bool:
    entry = e.encoder(e.dataset.encoder)
    try:
        locate(entry.path, entry.revision)
    except UserError:
        return False
    return True


def _embeddings(e: Experiment) -> _Made:
    """Only the encoder inside the v2 checkpoint matters, so cells with equal towers share the files."""
    if (manifest := e.manifest("v2_checkpoint")) is None:
        raise MissingInput("v2_checkpoint")
    towers = e._input("v2_checkpoint", manifest, manifest.facts["encoder_digest"])
    return e.config("embeddings").model_dump(), {
        "v2_checkpoint": towers,
        "dataset": e._dataset_digest("train"),
    }


def _rl_data(e: Experiment) -> _Made:
    config = e.config("rl_data")
    if config.path is not None:
        path = Path(config.path)
        if not path.is_file():
            raise UserError(f"RL_DATA_PATH={path} does not exist; mend or unset it.")
        return {"path": str(path.absolute())}, {"file": Input(data_version=e.store.digests.file(path))}
    gt_prob = config.gt_prob or needs_gt_prob(e.settings.reward)
    return {
        **config.model_dump(exclude={"path"}),
        "gt_prob": gt_prob,
        "generation": e.model.generation.model_dump(),
        **_vlm(e),
    }, {
        "candidate_pools": e.input("candidate_pools"),
        "v2_checkpoint": e.input("v2_checkpoint"),
        "embeddings": e.input("embeddings"),
        "dataset": e._dataset_digest("train"),
        "vlm": e._weights(e.model),
    }


def _training(e: Experiment, asset: str, *parents: str) -> _Made:
    config = {**e.config(asset).model_dump(), "reward": e.settings.reward.model_dump()}
    return config, {parent: e.input(parent) for parent in parents}


def _rce(e: Experiment) -> _Made:
    return _training(e, "rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings")


def _grpo(e: Experiment) -> _Made:
    return _training(e, "grpo_checkpoints", "rce_checkpoints", "rl_data", "v2_checkpoint", "embeddings")


def _v2format(e: Experiment) -> _Made:
    phase = e.phase_to_convert()
    return {"phase": phase, "epoch": e.config("v2format_checkpoint").epoch}, {
        f"{phase}_checkpoints": e.input(f"{phase}_checkpoints")
    }


def _evaluation(e: Experiment) -> _Made:
    parents = ["candidate_pools", "v2_checkpoint", "rce_checkpoints", "v2format_checkpoint"]
    inputs = {parent: e.input(parent) for parent in parents}
    if e.facts("v2format_checkpoint")["phase"] == "grpo":
        inputs["grpo_checkpoints"] = e.input("grpo_checkpoints")
    inputs |= {"dataset": e._dataset_digest("train", "validation"), "vlm": e._weights(e.model)}
    config = e.config("evaluation").model_dump()
    return {**config, "generation": e.model.generation.model_dump(), **_vlm(e)}, inputs


_WANTS: dict[str, Callable[[Experiment], _Made]] = {
    "candidate_pools": _candidate_pools,
    "beam_data": _beam_data,
    "v2_checkpoint": _v2_checkpoint,
    "embeddings": _embeddings,
    "rl_data": _rl_data,
    "rce_checkpoints": _rce,
    "grpo_checkpoints": _grpo,
    "v2format_checkpoint": _v2format,
    "evaluation": _evaluation,
}


def results_root() -> Path:
    """``$RESULT_DIR``, or ``results`` in the working directory (SPEC A.2)."""
    return Path(os.environ.get("RESULT_DIR") or "results").absolute()
