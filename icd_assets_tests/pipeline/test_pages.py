"""Every command of the README and the tutorials, typed as it stands, where the demo has other names."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from icd_assets.cli import group
from icd_assets.evaluation.predictions import read_predictions
from icd_assets_tests.pipeline.test_own_table import write_table
from icd_assets_tests.worlds.lever_plus import MODEL, LeverPlus, lever_plus_folder
from icd_assets_tests.worlds.pages import blocks, inline
from icd_assets_tests.worlds.workplace import ROOT, Workplace

DOCS = ROOT / "docs"
WEIGHTS = ROOT / "icd_assets/demo/weights"
PAGES = [ROOT / "README.md", *sorted((DOCS / "tutorials").glob("*.md")), DOCS / "report.md", DOCS / "compare.md"]
# Those that serve until they are ended, and `make`, which CI runs itself: each has tests of its own.
ELSEWHERE = ("icd-assets ui", "icd-assets serve", "make ")


@pytest.fixture(scope="module")
def home(trained: tuple[Workplace, str], tmp_path_factory: pytest.TempPathFactory) -> LeverPlus:
    """A user's home: Lever-Plus' results, OK-VQA under its names, own data, an own model, a picture, the demo."""
    home, demo = tmp_path_factory.mktemp("home"), trained[0].folder
    place = lever_plus_folder(trained[0], home / "Lever-Plus")
    shutil.copytree(demo / "datasets", place.folder / "datasets")
    (place.folder / "signs").mkdir()
    for split, count in (("train", 90), ("val", 20)):
        write_table(place, split, count)
    (home / "data").mkdir()
    (place.folder / "signs").rename(home / "data/signs")
    for name in ("my-vlm", MODEL):
        shutil.copytree(WEIGHTS / "tiny_vl", home / "models" / name)
    shutil.copy(next((demo / "datasets/demo/val").glob("*.jpg")), place.folder / "cat.jpg")
    (place.folder / "catalog.yaml").write_text(yaml.safe_dump(catalog(place, demo)), encoding="utf-8")
    ended = typed(place, "icd-assets train demo rand_sampler tiny_vl", "shell")
    assert ended.returncode == 0, ended.stderr
    (predictions,) = (place.results / "demo/icl_inference").glob("*/predictions.parquet")
    rows = read_predictions(predictions).to_pylist()
    theirs = [{"question_id": one["question_id"], "answer": one["answer"]} for one in rows if one["shots"] == 0]
    (place.folder / "theirs.json").write_text(json.dumps(theirs), encoding="utf-8")
    return place


@pytest.fixture
def machine(home: LeverPlus) -> Iterator[LeverPlus]:
    """It, with the catalog as it was before a page."""
    path = home.folder / "catalog.yaml"
    before = path.read_bytes()
    yield home
    path.write_bytes(before)


def catalog(place: LeverPlus, demo: Path) -> dict[str, Any]:
    """Lever-Plus' names, and CLIP's, for what is built in; the demo is small."""
    theirs = yaml.safe_load((place.folder / "catalog.yaml").read_text(encoding="utf-8"))
    theirs["datasets"] |= yaml.safe_load((demo / "catalog.yaml").read_text(encoding="utf-8"))["datasets"]
    theirs["models"][MODEL]["path"] = "${HOME}/models/" + MODEL
    clip = {"path": str(WEIGHTS / "tiny_clip")}
    return theirs | {"encoders": dict.fromkeys(("clip-vit-base-patch32", "clip-vit-large-patch14"), clip)}


def typed(place: LeverPlus, text: str, language: str) -> subprocess.CompletedProcess[str]:
    """A block in the shell that a reader has, or in Python, in the folder where the reader works."""
    bin = place.folder.parent / "bin"
    if not bin.exists():
        bin.mkdir()
        for name, module in (("icd-assets", "icd_assets.cli"), ("dagster", "dagster")):
            (bin / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
            (bin / name).chmod(0o755)
    environment = {name: value for name, value in place.environment.items() if name != "RECIPE"}
    environment |= {"HOME": str(place.folder.parent), "PATH": f"{bin}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", text] if language == "python" else ["bash", "-euc", text]
    return subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True, timeout=600)


def run_here(text: str) -> str:
    """A block without the lines that are tried elsewhere."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(ELSEWHERE))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_the_page_works(machine: LeverPlus, page: Path) -> None:
    python, exported = "", ""
    for language, text in blocks(page):
        if language == "python":
            python += text
            ended = typed(machine, python, "python")
        elif language == "shell":
            if not (text := run_here(text)).strip():
                continue
            ended = typed(machine, exported + text, "shell")
            exported += "".join(f"{line}\n" for line in text.splitlines() if line.startswith("export "))
        else:
            merge(machine.folder / language, text)
            continue
        assert ended.returncode == 0, f"{text}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"


def merge(path: Path, text: str) -> None:
    """What a page has a reader write into a file, beside what stands there."""
    there = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section, entries in yaml.safe_load(text).items():
        there[section] = there.get(section, {}) | entries
    path.write_text(yaml.safe_dump(there), encoding="utf-8")


def commands_in_texts() -> Iterator[tuple[str, str]]:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]:
        for command in inline(page):
            yield page.name, command


@pytest.mark.parametrize(("page", "command"), list(commands_in_texts()))
def test_commands_in_texts_exist_with_their_flags(page: str, command: str) -> None:
    _, name, *rest = shlex.split(command, comments=True)
    assert name in group.commands, (page, command)
    known = {flag for one in group.commands[name].params for flag in (*one.opts, *one.secondary_opts)}
    flags = {word.partition("=")[0] for word in rest if word.startswith("--")} - {"--help"}
    assert flags <= known, (page, command)


def test_a_page_with_a_wrong_command_is_found(machine: LeverPlus, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```\nicd-assets trian demo\n```\n\n```python\nraise SystemExit(3)\n```\n")
    found = [typed(machine, text, language).returncode for language, text in blocks(page)]
    assert found == [2, 3]
    assert isinstance(group, click.Group)
