"""Complete cells of small files and true manifests, made in milliseconds instead of trained."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.recipes import STAGES, STEPS_OF
from icd_assets.experiment.settings import read_settings
from icd_assets.experiment.spec import spec_of
from icd_assets.experiment.steps import STEPS
from icd_assets.pools.config import SAMPLERS
from icd_assets.scoring.rl_data import AnsweredPointer, RlData, RlQuery
from icd_assets.scoring.rl_file import write_rl_data
from icd_assets.store.digests import sha256_json
from icd_assets.store.manifest import Manifest, Spec
from icd_assets.store.store import Store

# Lever-Plus' chain, with RL data of the anchors.
STEP_NAMES = [step.name for step in STEPS if step.name in STEPS_OF["beams"] and step.name != "rl_queries"]
KEY = "d0|RandSampler/m0"
ENVIRONMENT = {"python": "3.11", "torch": "2.13", "device": "cpu"}


@dataclass(frozen=True)
class World:
    """A user's folder: catalog, datasets, weights, results, and Dagster's home file."""

    folder: Path
    file_bytes: int = 0  # files are filled up to this size

    @property
    def root(self) -> Path:
        return self.folder / "results"

    @cached_property
    def store(self) -> Store:
        return Store(self.root)

    def experiment(self, key: str = KEY, **variables: str) -> Experiment:
        catalog = Catalog.load(self.folder / "catalog.yaml")
        settings = read_settings(environment={"RECIPE": "beams", **variables})  # Lever-Plus' chain, if not said
        return Experiment(Cell.parse(key), settings, self.store, catalog)

    def cell(self, key: str = KEY, run_id: str = "run-1", **variables: str) -> Experiment:
        """All nine artifacts, GRPO too; what is shared with another cell is made once."""
        experiment = self.experiment(key, **{"GRPO_EPOCHS": "3", **variables})
        for asset in STEP_NAMES:
            if experiment.manifest(asset) is None:
                self.make(experiment, asset, run_id)
        return experiment

    def make(
        self, experiment: Experiment, asset: str, run_id: str = "run-1", made: str = "00:00", note: str = ""
    ) -> Manifest:
        """One artifact, of what it should be made of; ``note`` changes its bytes, as another seed would."""
        store, path = experiment.store, experiment.manifest_path(asset)
        spec = spec_of(experiment, asset)
        facts, texts = content(experiment, asset, spec, note)
        with store.lock(path), store.staging(path, spec) as staging:
            staged = {}
            for index, (final, text) in enumerate(texts.items()):
                staged[final] = staging / str(index)
                staged[final].write_bytes(text.ljust(self.file_bytes))
            return store.commit(
                path,
                staged,
                spec=spec,
                config_digest=sha256_json(spec.config),
                facts=facts,
                cell=experiment.cell.key,
                run_id=run_id,
                created_at=f"2026-01-02T03:{made}+00:00",
                seconds=1.5,
                environment=ENVIRONMENT,
            )


def new_world(folder: Path, datasets: int = 1, models: int = 1) -> World:
    """``d0…`` × four samplers × ``m0…``."""
    encoder = _weights(folder / "weights" / "clip", "clip")
    prompt = {"layout": "turns", "question": "{question}", "answer": "{answer}"}
    catalog: dict[str, Any] = {"datasets": {}, "models": {}, "encoders": {"clip": {"path": encoder}}}
    for index in range(datasets):
        place = folder / "datasets" / f"d{index}"
        place.mkdir(parents=True)
        splits = {}
        for split in ("train", "validation"):
            files = {"questions": place / f"{split}_q.json", "annotations": place / f"{split}_a.json"}
            for kind, path in files.items():
                path.write_text(f'{{"{kind}": "{split} {index}"}}', encoding="utf-8")
            splits[split] = {**{k: str(p) for k, p in files.items()}, "images": f"{place}/{{image_id}}.jpg"}
        catalog["datasets"][f"d{index}"] = {
            "alias_prefixes": [f"d{index}"],
            "sample_num": 4,
            "encoder": "clip",
            "sampler_encoder": "clip",
            **splits,
        }
    for index in range(models):
        catalog["models"][f"m{index}"] = {
            "aliases": [f"model{index}"],
            "path": _weights(folder / "weights" / f"m{index}", f"model {index}"),
            "prompt": prompt,
            "generation": {"max_new_tokens": 2, "num_beams": 1},
        }
    (folder / "catalog.yaml").write_text(yaml.safe_dump(catalog), encoding="utf-8")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    return World(folder)


def hundred_cells(folder: Path, file_bytes: int = 0) -> World:
    """5 datasets × 4 samplers × 5 models, nine artifacts each (pools and embeddings are shared, as they are)."""
    world = replace(new_world(folder, datasets=5, models=5), file_bytes=file_bytes)
    with patch("os.fsync"), world.store.digests.at_once():  # the disk need not survive a power cut
        for dataset, sampler, model in itertools.product(range(5), SAMPLERS, range(5)):
            world.cell(f"d{dataset}|{sampler}/m{model}")
    return world


def _weights(folder: Path, text: str) -> str:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_text(text, encoding="utf-8")
    return str(folder)


def content(e: Experiment, asset: str, spec: Spec, note: str) -> tuple[dict[str, Any], Mapping[Path, bytes]]:
    """The facts that others read, and each file's bytes: they follow from the spec alone."""
    paths = e.paths
    text = f"{asset} {spec.digest} {note}".encode()
    folder = paths.v3_folder
    if asset == "candidate_pools":
        return {"rows": 4}, {paths.train_pools: text, paths.anchors: b"anchors"}
    if asset == "beam_data":
        return {"rows": 4}, {paths.beam_data: text}
    if asset == "v2_checkpoint":
        return {"encoder_digest": sha256_json(spec.digests["encoder"])}, {paths.v2_checkpoint: text}
    if asset == "embeddings":
        return {"rows": 40}, {paths.query_embeddings: text, paths.candidate_embeddings: text}
    if asset == "rl_data":
        return {"rows": 4}, {paths.rl_data: _rl_data(spec, note)}
    if asset in ("single_labels", "step_labels"):
        return {"rows": 4, "prompts": 12, "label": "likelihood"}, {getattr(paths, asset): text}
    if asset == "rl_queries":
        return {"rows": 4, "train_rows": 40}, {paths.rl_queries: text}
    if asset in STAGES:
        facts = {"prompts": 12, "best_epoch": 2, "epochs": 3, "trained_on_rows": [3, 5]}
        return facts, {paths.selector(asset) / name: text for name in ("config.json", "model.safetensors")}
    if asset in ("rce_checkpoints", "grpo_checkpoints"):
        phase = asset[: asset.index("_")]
        epochs = spec.config[f"{phase}_epochs"]
        facts = {"epochs": epochs, "best_epoch": 2, "trained_on_rows": [3, 5]}
        return facts, {folder / f"{phase}_epoch{n}.pt": text + b"%d" % n for n in range(1, epochs + 1)}
    if asset == "v2format_checkpoint" and "stage" in spec.config:
        return {"phase": "singles", "source": spec.config["stage"]}, {folder / "singles_v2format.ckpt": text}
    if asset == "v2format_checkpoint":
        phase = spec.config["phase"]
        epochs = e.facts(f"{phase}_checkpoints")["epochs"]
        facts = {"phase": phase, "epoch": epochs, "source": f"{phase}_epoch{epochs}.pt"}
        return facts, {folder / f"{phase}_epoch{epochs}_v2format.ckpt": text}
    if asset == "evaluation":
        facts = {"rows": 4, "compare_shots": 2, "recommended": "GRPO", "recommended_accuracy": 0.5}
        return facts, {paths.evaluation / "comparison.json": text}
    return {}, {folder / f"{asset}.json": text}


def _rl_data(spec: Spec, note: str) -> bytes:
    queries = tuple(
        RlQuery(
            row=row,
            candidate_pool_ids=(10, 11, 12),
            pointers=(AnsweredPointer(pointer=(0, 1), source="random", vqa_correct=1, vqa_acc_score=1.0),),
            question_id=100 + row,
        )
        for row in (3, 5, 7)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rl.json"
        write_rl_data(path, RlData(queries=queries, meta={"note": note, "lineage": spec.lineage()}))
        return path.read_bytes()


@contextmanager
def changed(path: Path, *, hidden: bool = False) -> Iterator[None]:
    """One byte of a file is another; ``hidden``: its size and mtime are as before."""
    before, stat = path.read_bytes(), path.stat()
    path.write_bytes(before[:-2] + bytes([before[-2] ^ 1]) + before[-1:])
    if hidden:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    yield
    path.write_bytes(before)


def document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
