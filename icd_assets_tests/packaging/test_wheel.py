"""What ``pip install`` brings: every file, every package that is imported, and commands that work anywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from icd_assets_tests.worlds.workplace import CELL, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree and unpacked as pip does."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def icd_assets(unpacked: Path, here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The unpacked wheel's command in ``here``, which knows nothing of this checkout."""
    return subprocess.run(
        [sys.executable, "-m", "icd_assets.cli", *arguments],
        cwd=here,
        env={"PATH": "/usr/bin:/bin", "HOME": str(here), "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_it_holds_every_file_of_the_package(unpacked: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "icd_assets"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    missing = [name for name in tracked.stdout.splitlines() if not (unpacked / name).is_file()]
    assert "icd_assets/py.typed" in tracked.stdout and not missing


@pytest.mark.slow
def test_in_an_empty_folder_it_says_what_to_do_and_then_plans(unpacked: Path, tmp_path: Path) -> None:
    refused = icd_assets(unpacked, tmp_path, "train", *CELL, "--dry-run")
    assert refused.returncode == 2 and "icd-assets init" in refused.stderr and refused.stderr.count("\n") == 1
    assert icd_assets(unpacked, tmp_path, "init").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "dagster.yaml", "workspace.yaml"]
    planned = icd_assets(unpacked, tmp_path, "train", *CELL, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "evaluation" in planned.stdout and str(tmp_path / "results") in planned.stdout


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_whatever_is_imported_is_declared() -> None:
    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", re.split(r"[<>=\[ ;]", name)[0]).lower()

    extras = PROJECT["optional-dependencies"]
    declared = {normal(name) for name in PROJECT["dependencies"]}
    declared |= {normal(name) for extra in extras.keys() - {"dev"} for name in extras[extra]}
    brings = packages_distributions()
    found: dict[str, set[str]] = {}
    for path in (ROOT / "icd_assets").rglob("*.py"):
        for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "icd_assets":
                found.setdefault(top, set()).add(str(path.relative_to(ROOT)))
    undeclared = {
        top: sorted(paths)
        for top, paths in found.items()
        if not declared & {normal(name) for name in brings.get(top, [top])}
    }
    assert {"torch", "yaml"} <= set(found) and undeclared == {}
