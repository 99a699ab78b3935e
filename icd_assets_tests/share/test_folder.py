"""The folder that others get: a selector's own files, whole or not at all, and nothing of the machine."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from icd_assets import Selector
from icd_assets.errors import UserError
from icd_assets.experiment.experiment import Experiment
from icd_assets.selector.selector_file import read_selector
from icd_assets.share.folder import new_folder, write_folder
from icd_assets.share.trained import Trained
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.evaluated import DIM, QUESTION
from icd_assets_tests.worlds.manifests import World
from icd_assets_tests.worlds.tiny import tiny_clip, write_images
from icd_assets_tests.worlds.workplace import Workplace

CELL = "d0|RandSampler/m0"
PARTS = {"README.md", "comparison.json", "config.json", "lineage.json", "model.safetensors"}


def pools(dim: int, count: int = 50) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Queries with the candidates of each."""
    numbers = torch.Generator().manual_seed(3)
    found = normalize(torch.randn(count, 17, dim, generator=numbers), dim=-1)
    return [(one[0], one[1:]) for one in found]


def choices(selector: Selector) -> list[tuple[int, ...]]:
    return [selector.select(query, candidates, shots=3) for query, candidates in pools(selector.dim)]


def test_it_is_the_selectors_own_folder_and_chooses_the_same(cell: Experiment, run: Run, tmp_path: Path) -> None:
    ended = run("export", CELL, "--to", str(tmp_path / "out"))
    assert ended.code == 0, ended.error
    assert {path.name for path in (tmp_path / "out").iterdir()} == PARTS
    own = cell.paths.selector("sequence_selector")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (own / name).read_bytes()
    found = choices(Selector.load(tmp_path / "out"))
    assert found == choices(Selector.load(own)) and len(set(found)) > 10
    assert Selector.load(tmp_path / "out").dim == DIM


def test_nothing_of_the_machine_and_no_text_of_the_dataset_is_in_it(
    cell: Experiment, world: World, run: Run, tmp_path: Path
) -> None:
    assert QUESTION in str((cell.paths.evaluation / "predictions.parquet").read_bytes())  # there it is
    run("export", CELL, "--to", str(tmp_path / "out"))
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        assert str(world.folder).encode() not in content and QUESTION.encode() not in content, path
    lineage = json.loads((tmp_path / "out" / "lineage.json").read_text(encoding="utf-8"))
    assert lineage["results_root"] is None and lineage["artifacts"]


def test_what_is_there_stays(cell: Experiment, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    refused = run("export", CELL, "--to", str(tmp_path / "out"))
    assert refused.code == 2 and "nothing of yours is replaced; name a new folder" in refused.error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert run("export", CELL, "--to", str(tmp_path / "empty")).code == 0
    assert {path.name for path in (tmp_path / "empty").iterdir()} == PARTS


def test_a_failure_in_the_middle_leaves_nothing(shared: Trained, tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        write_folder(folder, shared)
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        new_folder(tmp_path / "a" / "out", fill)
    assert list((tmp_path / "a").iterdir()) == []


def test_a_damaged_selector_is_refused(cell: Experiment, run: Run, tmp_path: Path) -> None:
    path = cell.paths.selector("sequence_selector") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refused = run("export", CELL, "--to", str(tmp_path / "out"))
    assert refused.code == 2 and "model.safetensors is no longer what sequence_selector wrote" in refused.error
    assert not (tmp_path / "out").exists()


def test_what_lever_plus_recipe_ends_in_becomes_a_folder_too(
    beams: tuple[Workplace, Path], tmp_path: Path
) -> None:
    place, folder = beams
    (checkpoint,) = place.results.glob("*/model_cpk/v3_*/grpo_epoch*_v2format.ckpt")
    expected = choices(Selector.load(checkpoint))
    assert choices(Selector.load(folder)) == expected and len(set(expected)) > 10
    with pytest.raises(UserError, match="another encoder"):
        Selector.load(folder, encoder=tiny_clip())
    named = read_selector(folder).encoder
    assert named is not None and (named.name, named.path) == ("tiny_clip", None)


def test_its_card_is_true(beams: tuple[Workplace, Path], tmp_path: Path) -> None:
    """The snippet runs in the folder, and the command finds all made."""
    place, folder = beams
    text = (folder / "README.md").read_text(encoding="utf-8")
    for number, picture in enumerate(write_images(tmp_path / "pictures", 4), start=1):
        shutil.copy(picture, tmp_path / f"{number}.jpg")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (snippet,) = re.findall(r"(?s)```python\n(.*?)```", text)
    code = f"{snippet}\nassert len(set(positions)) == 2, positions\nassert messages"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=place.environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    (words,) = re.findall(r"^icd-assets (train .*)$", text, re.MULTILINE)
    assert "--grpo-epochs 3" in words and "grpo_checkpoints.freeze_backbone_in_grpo=true" in words
    planned = place.run(*shlex.split(words), "--dry-run", "--json")
    assert json.loads(planned.stdout)["to_make"] == [], planned.stderr
