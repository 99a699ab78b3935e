"""A results folder of Lever-Plus' names in milliseconds: one artifact of each kind, of one small cell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import Settings, read_settings
from icd_assets.lever_plus.adopt import Adoption, Finding
from icd_assets.pools.files import write_anchors, write_pools
from icd_assets.scoring.beam_file import write_beams
from icd_assets.scoring.infoscore import Beam, QueryBeams
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.embedding_file import write_embeddings
from icd_assets.selector.model import new_policy
from icd_assets.selector.v2_file import V2Checkpoint, write_v2
from icd_assets.selector.v3_file import V3Checkpoint, write_v3
from icd_assets_tests.worlds.tiny import tiny_clip
from icd_assets_tests.worlds.vqa_files import annotation, write_files

ROWS, ANCHORS, WIDTH = 8, (0, 1, 2, 3), 24
POOL = (4, 5, 6)
KEY = "d0|RandSampler/m0"
ASSETS = (
    *("candidate_pools", "beam_data", "v2_checkpoint", "embeddings", "rl_data"),
    *("rce_checkpoints", "grpo_checkpoints"),
)


@dataclass(frozen=True)
class Adoptable:
    """Its folder, with ``catalog.yaml`` and ``results``."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "results"

    @property
    def settings(self) -> Settings:
        return read_settings(environment={}, assignments={("shared", "pool_size"): "3"})

    @property
    def experiment(self) -> Experiment:
        return next(e for e in self.adoption(dry_run=True).experiments("d0") if e.cell.key == KEY)

    def adoption(self, *, dry_run: bool, v2: tuple[Path, ...] = ()) -> Adoption:
        return Adoption(self.root, Catalog.load(self.folder / "catalog.yaml"), self.settings, v2, dry_run)

    def found(self, *, dry_run: bool, v2: tuple[Path, ...] = ()) -> list[Finding]:
        return list(self.adoption(dry_run=dry_run, v2=v2).run())


def adoptable(folder: Path) -> Adoptable:
    """``d0`` × RandSampler × ``m0``: all that adoption knows of."""
    place = folder / "datasets"
    place.mkdir(parents=True)
    questions = [(100 + row, row, f"what is {row}?") for row in range(ROWS)]
    write_files(place, questions, [annotation(100 + row, row, ["dog"] * 10) for row in range(ROWS)])
    split = {
        "questions": str(place / "questions.json"),
        "annotations": str(place / "annotations.json"),
        "images": f"{place}/{{image_id}}.jpg",
    }
    dataset = {
        "alias_prefixes": ["d0"],
        "sample_num": len(ANCHORS),
        "encoder": "clip",
        "sampler_encoder": "clip",
        "train": split,
        "validation": split,
    }
    model = {
        "aliases": ["model0"],
        "path": "m0",
        "prompt": {"layout": "turns", "question": "{question}", "answer": "{answer}"},
        "generation": {"max_new_tokens": 2, "num_beams": 1},
    }
    catalog = {
        "datasets": {"d0": dataset},
        "models": {"m0": model},
        "encoders": {"clip": {"path": str(tiny_clip())}},
    }
    (folder / "catalog.yaml").write_text(yaml.safe_dump(catalog, sort_keys=False), encoding="utf-8")
    made = Adoptable(folder)
    made.root.mkdir()
    _results(made.experiment)
    return made


def _results(e: Experiment) -> None:
    paths = e.paths
    for one in (paths.cache, paths.generated, paths.v2_folder, paths.v3_folder):
        one.mkdir(parents=True)
    write_anchors(paths.anchors, ANCHORS)
    write_pools(paths.train_pools, dict.fromkeys(ANCHORS, POOL))
    beam = Beam(POOL[:2], 0.5, POOL[:2], (0.25, 0.25))
    write_beams(paths.beam_data, {row: QueryBeams(row, (beam,)) for row in ANCHORS})
    queries = {
        str(row): {
            "query": {"query_id": row, "question_id": 100 + row, "question": f"what is {row}?"},
            "pointer_candidates": [{"pointer": POOL[:2], "vqa_pred_answer": "dog", "vqa_acc_score": 1.0}],
        }
        for row in ANCHORS
    }
    paths.rl_data.write_text(json.dumps(queries | {"_meta": {"strict_eval": True}}, indent=2), encoding="utf-8")
    unit = torch.nn.functional.normalize(torch.arange(ROWS * WIDTH).float().cos().reshape(ROWS, WIDTH), dim=-1)
    for path in (paths.query_embeddings, paths.candidate_embeddings):
        write_embeddings(path, unit)
    state = dict(new_policy(SelectorConfig(embedding_dim=WIDTH, hidden_dim=8), 0).state_dict())
    write_v2(paths.v2_checkpoint, V2Checkpoint(state))
    for phase in ("rce", "grpo"):
        for epoch in (1, 2):
            checkpoint = V3Checkpoint(epoch - 1, phase, state, 0.1, {"val_loss": 1.0 / epoch})
            write_v3(paths.epoch_checkpoint(phase, epoch), checkpoint)
