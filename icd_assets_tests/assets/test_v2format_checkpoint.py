"""What Lever-Plus' inference.sh takes by itself is right: each last epoch keeps its v2-format file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch

from icd_assets.assets.build import build
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.open_cell import as_typed
from icd_assets.experiment.spec import spec_of
from icd_assets.lever_plus.inference import taken_by_inference
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import new_policy
from icd_assets.selector.v2_file import read_v2
from icd_assets.selector.v3_file import V3Checkpoint, read_v3, write_v3
from icd_assets.store.digests import sha256_json
from icd_assets_tests.worlds.manifests import World, new_world

CONFIG = SelectorConfig(embedding_dim=12, hidden_dim=8)

# The rule of inference.sh, as a shell carries it out: newest first, GRPO's before RCE's, converted unless there.
INFERENCE = """
files=($(ls -t "$1"/grpo_epoch*.pt 2>/dev/null))
[ ${#files[@]} -eq 0 ] && files=($(ls -t "$1"/rce_epoch*.pt 2>/dev/null))
[ ${#files[@]} -eq 0 ] && files=($(ls -t "$1"/*.pt 2>/dev/null))
converted="${files[0]%.pt}_v2format.ckpt"
if [ -f "$converted" ] && [ ! "${files[0]}" -nt "$converted" ]; then echo "$converted"; else echo "${files[0]}"; fi
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = new_world(tmp_path)
    world.cell()
    return world


def cell(world: World, **variables: str) -> Experiment:
    found = world.experiment(**variables)
    return Experiment(found.cell, as_typed(found.settings, "d0"), world.store, found.catalog)


def trained(e: Experiment, phase: str, epochs: int, *, seed: int = 0, origin: str = "made") -> None:
    """Epochs of real selectors; each has its own weights."""
    asset = f"{phase}_checkpoints"
    store, path, spec = e.store, e.manifest_path(asset), spec_of(e, asset, afresh=True)
    with store.lock(path), store.staging(path, spec, afresh=True) as staging:
        files = {}
        for number in range(1, epochs + 1):
            final = e.paths.epoch_checkpoint(phase, number)
            files[final] = final if origin == "adopted" else staging / final.name
            state = dict(new_policy(CONFIG, 100 * seed + 10 * len(phase) + number).state_dict())
            final.parent.mkdir(parents=True, exist_ok=True)
            write_v3(files[final], V3Checkpoint(number - 1, phase, state, 0.1, {"val_loss": 1.0 / number}))
            written = 1e9 + 100 * seed + number  # a disk may know no finer times
            os.utime(files[final], (written, written))
        store.commit(
            path,
            files,
            spec=spec,
            config_digest=sha256_json(spec.config),
            facts={"epochs": epochs, "best_epoch": 1},
            origin=origin,
            cell=e.cell.key,
            run_id="r" if origin == "made" else None,
            created_at="2026-01-02T03:04:05+00:00",
            seconds=1.0,
            environment={"device": "cpu"},
        )


def by_inference(e: Experiment) -> Path:
    """What inference.sh takes, by a shell; the same as we say."""
    found = subprocess.run(
        ["bash", "-c", INFERENCE, "-", str(e.paths.v3_folder)], capture_output=True, text=True, check=True
    )
    path = Path(found.stdout.strip())
    assert taken_by_inference(e) == path
    return path


def same(converted: Path, source: Path) -> bool:
    state, expected = read_v2(converted).state, read_v3(source).model_state_dict
    return all(torch.equal(state[name], expected[name]) for name in expected)


def both(world: World) -> Experiment:
    e = cell(world, GRPO_EPOCHS="3")
    trained(e, "rce", 5)
    trained(e, "grpo", 3)
    return e


def test_back_to_rce_only_what_inference_takes_is_still_right(world: World) -> None:
    e = both(world)
    folder = e.paths.v3_folder
    build(e, "v2format_checkpoint")
    assert by_inference(e) == folder / "grpo_epoch3_v2format.ckpt"
    rce_only = cell(world, GRPO_EPOCHS="0")
    made = build(rce_only, "v2format_checkpoint").manifest
    assert made.facts["phase"] == "rce"
    assert made.files[0].path.endswith("rce_epoch5_v2format.ckpt")  # the recommended one comes first
    taken = by_inference(rce_only)
    assert taken == folder / "grpo_epoch3_v2format.ckpt"
    assert same(taken, folder / "grpo_epoch3.pt")
    assert same(folder / "rce_epoch5_v2format.ckpt", folder / "rce_epoch5.pt")
    assert build(rce_only, "v2format_checkpoint").skipped
    trained(e, "grpo", 3, seed=7)  # GRPO was trained again meanwhile
    assert not build(rce_only, "v2format_checkpoint").skipped
    assert same(by_inference(rce_only), folder / "grpo_epoch3.pt")


def test_rce_alone_is_made_of_what_it_was(world: World) -> None:
    """No GRPO lies there: an artifact of before stays up to date."""
    for asset in ("grpo_checkpoints", "v2format_checkpoint"):
        path = world.experiment().manifest_path(asset)
        path.unlink()
        for file in path.parent.glob("grpo_*"):
            file.unlink()
    e = cell(world)
    trained(e, "rce", 2)
    spec = spec_of(e, "v2format_checkpoint")
    assert (spec.config, list(spec.inputs)) == ({"phase": "rce", "epoch": "last"}, ["rce_checkpoints"])
    made = build(e, "v2format_checkpoint").manifest
    assert [Path(record.path).name for record in made.files] == ["rce_epoch2_v2format.ckpt"]
    assert by_inference(e).name == "rce_epoch2_v2format.ckpt"


def test_each_last_epoch_has_its_file_and_its_own_lineage(world: World) -> None:
    e = both(world)
    made = build(e, "v2format_checkpoint").manifest
    names = [Path(record.path).name for record in made.files]
    assert names == ["grpo_epoch3_v2format.ckpt", "rce_epoch5_v2format.ckpt"]
    for name, asset in zip(names, ("grpo_checkpoints", "rce_checkpoints"), strict=True):
        lineage = read_v2(e.paths.v3_folder / name).lineage
        assert lineage["inputs"] == {asset: e.store.require(e.manifest_path(asset), asset).data_version}
        assert lineage["source"] == name.replace("_v2format.ckpt", ".pt")


def test_of_the_best_epoch_the_last_is_converted_too(world: World) -> None:
    both(world)
    e = world.experiment(GRPO_EPOCHS="3")
    explicit = e.settings.explicit | {"v2format_checkpoint": {"epoch": "best", "source": "grpo"}}
    e = Experiment(e.cell, e.settings.model_copy(update={"explicit": explicit}), world.store, e.catalog)
    made = build(e, "v2format_checkpoint").manifest
    names = {Path(record.path).name for record in made.files}
    assert made.facts["source"] == "grpo_epoch1.pt"
    assert names >= {"grpo_epoch1_v2format.ckpt", "grpo_epoch3_v2format.ckpt"}
    assert same(by_inference(e), e.paths.v3_folder / "grpo_epoch3.pt")


def test_a_pruned_epoch_is_not_what_inference_takes(world: World) -> None:
    e = both(world)
    (e.paths.v3_folder / "grpo_epoch3.pt").rename(world.folder / "gone.pt")
    made = build(cell(world, GRPO_EPOCHS="0"), "v2format_checkpoint").manifest  # damaged, so it is left out
    assert [Path(record.path).name for record in made.files] == ["rce_epoch5_v2format.ckpt"]


@pytest.mark.parametrize("phase", ["rce", "grpo"])
def test_the_users_own_conversion_stays(world: World, phase: str) -> None:
    for asset in ("rce_checkpoints", "grpo_checkpoints", "v2format_checkpoint"):
        path = world.experiment(GRPO_EPOCHS="3").manifest_path(asset)
        path.unlink()
    for file in path.parent.iterdir():
        file.unlink()
    e = cell(world, GRPO_EPOCHS="1")
    trained(e, "rce", 2, origin="adopted")
    trained(e, "grpo", 1, origin="adopted")
    folder, number = e.paths.v3_folder, {"rce": 2, "grpo": 1}[phase]
    theirs = folder / f"{phase}_epoch{number}_v2format.ckpt"
    theirs.write_bytes(b"as the user's script converted it")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    for variables in ({"GRPO_EPOCHS": "0"}, {"GRPO_EPOCHS": "1"}):
        e = cell(world, **variables)
        made = build(e, "v2format_checkpoint").manifest
        recommended = e.store.resolve(made.files[0])
        assert same(recommended, folder / made.facts["source"])
        if made.facts["phase"] == phase:
            assert recommended == folder / "icd_assets" / theirs.name
        assert by_inference(e) == folder / "grpo_epoch1_v2format.ckpt"
        assert phase == "grpo" or same(by_inference(e), folder / "grpo_epoch1.pt")
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    assert not list(world.root.rglob("*.kept-*"))


def test_newest_is_by_the_time_of_the_file(world: World) -> None:
    e = both(world)
    build(e, "v2format_checkpoint")
    os.utime(e.paths.v3_folder / "grpo_epoch1.pt", (4e9, 4e9))  # copied last
    assert by_inference(e) == e.paths.v3_folder / "grpo_epoch1.pt"
