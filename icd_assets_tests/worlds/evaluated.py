"""A cell of the world of manifests whose selector, labels and evaluation are real: what is shared of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icd_assets.datasets.vqa import VqaItem
from icd_assets.evaluation.compare import compare
from icd_assets.evaluation.config import EvaluationConfig
from icd_assets.evaluation.evaluate import Outcome, Prediction
from icd_assets.evaluation.predictions import write_predictions
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.spec import spec_of
from icd_assets.scoring.step_label_file import write_step_labels
from icd_assets.scoring.step_labels import StepLabels
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.selector_file import write_selector
from icd_assets.store.digests import sha256_json
from icd_assets_tests.worlds.manifests import ENVIRONMENT, World

NAME = "coverage (sequences)"
QUESTION = "what <b>does</b> it | eat?"  # of the dataset: in predictions alone
DIM = 12
STEPS = (
    *("candidate_pools", "embeddings", "single_labels", "singles_selector", "step_labels"),
    *("sequence_selector", "evaluation"),
)


def evaluated_cell(world: World, key: str = "d0|RandSampler/m0", *, seed: int = 5, **variables: str) -> Experiment:
    """The default recipe, made and evaluated; another ``seed`` is another selector."""
    experiment = world.experiment(key, **{"RECIPE": "sequences", **variables})
    for asset in STEPS:
        make(experiment, asset, seed)
    return experiment


def make(e: Experiment, asset: str, seed: int = 5) -> None:
    """One artifact of it, as the settings would have it now."""
    store, path, spec = e.store, e.manifest_path(asset), spec_of(e, asset)
    with store.lock(path), store.staging(path, spec, afresh=True) as staging:
        files, facts = _made(e, asset, staging, seed)
        store.commit(
            path,
            files,
            spec=spec,
            config_digest=sha256_json(spec.config),
            facts=facts,
            cell=e.cell.key,
            run_id="run-1",
            created_at="2026-01-02T03:04:05+00:00",
            seconds=1.5,
            environment=ENVIRONMENT,
        )


def _made(e: Experiment, asset: str, staging: Path, seed: int) -> tuple[Mapping[Path, Path], dict[str, Any]]:
    paths, facts = e.paths, {"rows": 2, "prompts": 12}
    if asset in ("single_labels", "step_labels"):
        prefix = () if asset == "single_labels" else (2,)
        values = (0.25, 0.5, None if prefix else 0.75)
        steps = {3: [StepLabels(3, prefix, values, 0.1)], 5: [StepLabels(5, prefix, values, 0.2)]}
        write_step_labels(staging / "labels", steps, {3: (10, 11, 12), 5: (20, 21, 22)}, label="likelihood")
        return {getattr(paths, asset): staging / "labels"}, facts
    if asset == "sequence_selector":
        policy = new_policy(
            SelectorConfig(embedding_dim=DIM, hidden_dim=8, architecture="coverage", aspects=4), seed
        )
        lineage = spec_of(e, asset).lineage()
        write_selector(staging, policy, stage="sequences", encoder_digest="e" * 64, lineage=lineage)
        names = ("config.json", "model.safetensors")
        return {paths.selector(asset) / name: staging / name for name in names}, {
            **facts,
            "architecture": "coverage",
        }
    if asset == "evaluation":
        names = ("comparison.json", "predictions.parquet")
        _evaluate(staging, world_folder=e.store.root.parent)
        return {paths.evaluation / name: staging / name for name in names}, {**facts, "recommended": NAME}
    (staging / "0").write_text(f"{asset} {seed}", encoding="utf-8")
    final = {
        "candidate_pools": paths.train_pools,
        "embeddings": paths.query_embeddings,
        "singles_selector": paths.selector("singles_selector") / "model.safetensors",
    }[asset]
    return {final: staging / "0"}, {**facts, "encoder_digest": "e" * 64, "width": DIM}


def _evaluate(staging: Path, world_folder: Path) -> None:
    """Twenty questions under three strategies; the pictures lie outside their split's folder."""
    outcomes = [_outcome("zero-shot", 0, 0), _outcome("random", 2, 3), _outcome(NAME, 1, 2), _outcome(NAME, 2, 1)]
    found = compare(outcomes, EvaluationConfig(shot_counts=[1, 2])).model_copy(update={"recommended": NAME})
    found = found.model_copy(
        update={"strategies": tuple(_priced(row) for row in found.strategies)},
    )
    found.write(staging / "comparison.json")
    items = [_item(row, world_folder / "pictures") for row in range(20)]
    write_predictions(
        staging / "predictions.parquet", outcomes, items, items, folders=(Path("/no/such"), Path("/no/such"))
    )


def _priced(row: Any) -> Any:
    return row.model_copy(update={"prompts": 24}) if row.strategy == NAME else row


def _outcome(strategy: str, shots: int, wrong_every: int) -> Outcome:
    predictions = [
        Prediction(
            10 * i,
            i,
            strategy,
            shots,
            tuple(range(i % 3, i % 3 + shots)),
            ("dog",) * shots,
            "raw",
            "answer",
            float(bool(wrong_every) and i % (wrong_every + 1) > 0),
            False,
            False,
        )
        for i in range(20)
    ]
    return Outcome(strategy, shots, tuple(predictions))


def _item(row: int, folder: Path) -> VqaItem:
    return VqaItem(row, 10 * row, row, QUESTION, "dog", ("dog", "cat"), "what", "other", folder / f"{row}.png")
