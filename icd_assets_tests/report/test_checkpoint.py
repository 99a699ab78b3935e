"""A checkpoint is the strategy that it is in the evaluation that asked with it, and no other epoch's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.evaluation.earlier import EARLIER, RECORD
from icd_assets.lineage import Records
from icd_assets.report.checkpoint import evaluated
from icd_assets_tests.lineage.test_lineage import V3
from icd_assets_tests.worlds.commands import world
from icd_assets_tests.worlds.evaluated import NAME, evaluated_cell
from icd_assets_tests.worlds.manifests import World

__all__ = ["world"]


def strategy(world: World, path: Path) -> str:
    folder, manifest, name = evaluated(path, Records(world.store))
    assert manifest.spec.asset == "evaluation" and "icl_inference" in folder.parts
    return name


@pytest.fixture
def beams(world: World) -> Path:
    """The folder of five RCE and three GRPO epochs, of which the last GRPO one is recommended."""
    world.cell()
    return world.root / V3


@pytest.mark.parametrize(
    ("name", "found"),
    [("rce_epoch5.pt", "RCE"), ("grpo_epoch3.pt", "GRPO"), ("grpo_epoch3_v2format.ckpt", "GRPO")],
)
def test_the_epochs_that_were_evaluated(world: World, beams: Path, name: str, found: str) -> None:
    assert strategy(world, beams / name) == found
    copy = world.folder / "copy.bin"
    shutil.copy(beams / name, copy)
    assert strategy(world, copy) == found


@pytest.mark.parametrize(
    ("name", "instead"), [("rce_epoch1.pt", "rce_epoch5.pt"), ("grpo_epoch2.pt", "grpo_epoch3.pt")]
)
def test_an_epoch_that_was_not_is_not_taken_for_one_that_was(
    world: World, beams: Path, name: str, instead: str
) -> None:
    with pytest.raises(UserError, match=f"{name} was not evaluated itself, only {instead} of its training"):
        strategy(world, beams / name)


def test_the_v2_checkpoint(world: World, beams: Path) -> None:
    assert strategy(world, world.experiment().files("v2_checkpoint")[0]) == "v2 (SFT)"


def test_without_grpo_the_recommended_rce_epoch(world: World) -> None:
    experiment = world.experiment()
    for asset in ("candidate_pools", "beam_data", "v2_checkpoint", "embeddings", "rl_data", "rce_checkpoints"):
        world.make(experiment, asset)
    for asset in ("v2format_checkpoint", "evaluation"):
        world.make(experiment, asset)
    assert strategy(world, world.root / V3 / "rce_epoch5.pt") == "GRPO"  # what that world's facts recommend
    with pytest.raises(UserError, match="only rce_epoch5"):
        strategy(world, world.root / V3 / "rce_epoch4.pt")


def test_a_folder_of_a_selector(world: World) -> None:
    experiment = evaluated_cell(world)
    assert strategy(world, experiment.paths.selector("sequence_selector")) == NAME


def test_a_selector_whose_evaluation_was_replaced_since(world: World) -> None:
    experiment = evaluated_cell(world)
    kept = experiment.paths.evaluation / EARLIER / "20260102T030405_01234567"
    kept.mkdir(parents=True)
    for name in ("comparison.json", "predictions.parquet"):
        shutil.copy(experiment.paths.evaluation / name, kept / name)
    experiment.manifest_path("evaluation").rename(kept / RECORD)
    folder, _, name = evaluated(experiment.paths.selector("sequence_selector"), Records(world.store))
    assert (folder, name) == (kept, NAME)


def test_one_that_was_not_evaluated_says_how_to(world: World) -> None:
    experiment = evaluated_cell(world)
    experiment.manifest_path("evaluation").unlink()
    with pytest.raises(UserError, match=r"was not evaluated; run icd-assets train for d0\|RandSampler/m0"):
        strategy(world, experiment.paths.selector("sequence_selector"))
