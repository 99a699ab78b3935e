"""Why two artifacts differ, down to the first causes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from icd_assets_tests.lineage.test_lineage import RL, V3
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.manifests import KEY, World, changed, document


@pytest.fixture
def first(world: World, tmp_path: Path) -> Path:
    """The last RCE epoch of a first training, kept elsewhere."""
    world.cell()
    kept = tmp_path / "first.pt"
    shutil.copy(world.root / V3 / "rce_epoch5.pt", kept)
    return kept


def again(world: World, *assets: str, note: str = "", **variables: str) -> str:
    experiment = world.experiment(**variables)
    for asset in assets:
        world.make(experiment, asset, "run-2", made="30:00", note=note if asset == assets[0] else "")
    return f"results/{V3}/rce_epoch5.pt"


def causes(run: Run, a: object, b: object, *flags: str) -> list[Any]:
    ended = run("diff", str(a), str(b), "--json", *flags)
    assert ended.code == 0, ended.error
    return [(one["kind"], one["path"], one["field"], one["a"], one["b"]) for one in differences(ended.output)]


def differences(output: str) -> Any:
    found = json.loads(output)
    assert found["same_content"] == (not found["differences"])
    return found["differences"]


def test_config(world: World, run: Run, first: Path) -> None:
    second = again(world, "rce_checkpoints", RCE_LR="0.002")
    assert causes(run, first, second) == [("config", ["rce_checkpoints"], "rce_lr", 0.001, 0.002)]
    shown = run("diff", str(first), second).output
    assert "rce_lr  0.001  0.002" in " ".join(shown.split()).replace(" 0.0", "  0.0")


def test_data_is_followed_to_the_first_cause(world: World, run: Run, first: Path) -> None:
    weights = world.folder / "weights/m0/model.safetensors"
    before = document(world.root / f"{RL}.manifest.json")["want"]["inputs"]["vlm"]["data_version"]
    weights.write_text("another model", encoding="utf-8")
    second = again(world, "rl_data", "rce_checkpoints")
    after = document(world.root / f"{RL}.manifest.json")["want"]["inputs"]["vlm"]["data_version"]
    assert causes(run, first, second) == [
        ("data", ["rce_checkpoints", "rl_data", "vlm"], "data_version", before, after)
    ]


def test_a_seed_is_a_cause_of_its_own(world: World, run: Run, first: Path) -> None:
    experiment = world.experiment()
    object.__setattr__(experiment.settings.shared, "seed", 43)
    world.make(experiment, "rce_checkpoints", "run-2")
    assert causes(run, first, f"results/{V3}/rce_epoch5.pt") == [("seed", ["rce_checkpoints"], "seed", 42, 43)]


def test_code_and_environment(world: World, run: Run, first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from icd_assets.store.manifest import Spec
    from icd_assets_tests.worlds import manifests as module

    real = module.spec_of

    def raised(experiment: Any, asset: str) -> Spec:
        return real(experiment, asset).model_copy(update={"code_version": "99"})

    monkeypatch.setattr(module, "spec_of", raised)
    monkeypatch.setattr(module, "ENVIRONMENT", {**module.ENVIRONMENT, "torch": "2.14", "device": "cuda:0"})
    second = again(world, "rce_checkpoints")
    assert causes(run, first, second) == [
        ("code", ["rce_checkpoints"], "code_version", "2", "99"),
        ("environment", ["rce_checkpoints"], "device", "cpu", "cuda:0"),
        ("environment", ["rce_checkpoints"], "torch", "2.13", "2.14"),
    ]


def test_threads_and_cpu_are_named_where_nothing_else_explains_it(
    world: World, run: Run, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icd_assets_tests.worlds import manifests as module

    machine = {"threads": "8", "cpu": "Another CPU", "blas": "torch: BLAS open"}
    monkeypatch.setattr(module, "ENVIRONMENT", {**module.ENVIRONMENT, **machine})
    second = again(world, "rce_checkpoints", note="other last bits")
    assert causes(run, first, second) == [
        ("environment", ["rce_checkpoints"], "blas", None, "torch: BLAS open"),
        ("environment", ["rce_checkpoints"], "cpu", None, "Another CPU"),
        ("environment", ["rce_checkpoints"], "threads", None, "8"),
    ]
    second = again(world, "rce_checkpoints", RCE_LR="0.002")
    assert causes(run, first, second) == [("config", ["rce_checkpoints"], "rce_lr", 0.001, 0.002)]


def test_other_bytes_from_the_same_of_everything(world: World, run: Run, first: Path) -> None:
    second = again(world, "rce_checkpoints", note="not deterministic")
    ((kind, path, *_),) = causes(run, first, second)
    assert (kind, path) == ("unexplained", ["rce_checkpoints"])


def test_nothing(world: World, run: Run, first: Path) -> None:
    assert causes(run, first, f"results/{V3}/rce_epoch5.pt") == []
    assert "the same content" in run("diff", str(first), f"results/{V3}/rce_epoch5.pt").output
    epochs = run("diff", f"results/{V3}/rce_epoch1.pt", f"results/{V3}/rce_epoch2.pt").output
    assert "two files of the same artifact" in epochs


def test_cells_and_runs(world: World, run: Run) -> None:
    world.cell(run_id="aaaaaaaa-7f26-43b2-bf99-5f0214732691")
    other = KEY.replace("Rand", "TextSim")
    world.cell(other, run_id="bbbbbbbb-7f26-43b2-bf99-5f0214732691")
    found = causes(run, KEY, other, "--asset", "rl_data")
    assert ("config", ["rl_data", "candidate_pools"], "sampler", "RandSampler", "TextSimSampler") in found
    assert causes(run, "aaaaaaaa", "bbbbbbbb", "--asset", "rl_data") == found
    assert "made no leaderboard" in run("diff", "aaaaaaaa", "bbbbbbbb", "--asset", "leaderboard").error


def test_different_kinds_of_things(world: World, run: Run) -> None:
    world.cell()
    found = causes(run, f"results/{V3}/rce_epoch1.pt", f"results/{V3}/grpo_epoch1.pt")
    assert found == [("asset", ["rce_checkpoints"], "asset", "rce_checkpoints", "grpo_checkpoints")]


def test_a_damaged_file_is_not_said_to_be_what_was_made(world: World, run: Run, first: Path) -> None:
    second = f"results/{V3}/rce_epoch5.pt"
    with changed(world.folder / second):
        for pair, side in (((first, second), "b"), ((second, first), "a")):
            shown = " ".join(run("diff", *map(str, pair)).output.split())
            assert "is no longer what rce_checkpoints wrote" in shown
            assert "the bytes are others now" in shown
            assert "made together" not in shown
            found = json.loads(run("diff", *map(str, pair), "--json").output)
            assert "is no longer what" in found.pop(side)["problem"]
            assert {found.pop(other)["problem"] for other in "ab" if other in found} == {None}
