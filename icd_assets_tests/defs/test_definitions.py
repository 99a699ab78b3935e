"""What Dagster loads: light to import, every asset partitioned alike, nothing renamed unseen."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

import icd_assets
from icd_assets.definitions import defs
from icd_assets.defs.assets import SharedResource
from icd_assets.experiment.steps import STEPS

PACKAGE = Path(icd_assets.__file__).parent
# A renamed asset, job or check loses its history in every user's instance: it must show in review.
ASSETS = [
    "beam_data",
    "candidate_pools",
    "embeddings",
    "evaluation",
    "grpo_checkpoints",
    "leaderboard",
    "rce_checkpoints",
    "rl_data",
    "v2_checkpoint",
    "v2format_checkpoint",
]
JOBS = ["grpo_recipe", "rce_recipe"]


def test_definitions_load() -> None:
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    assert sorted(key.to_user_string() for key in graph.get_all_asset_keys()) == ASSETS
    assert sorted(job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")) == JOBS


def test_import_is_light() -> None:
    """In a fresh process, as every Dagster process pays it; ≤ 3 s is measured in benchmarks, not here."""
    program = (
        "import icd_assets.definitions, sys; "
        "heavy = {'torch', 'transformers', 'numpy', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_is_an_asset_with_the_shared_partition(step: object) -> None:
    from icd_assets.defs.assets import partitions
    from icd_assets.experiment.steps import Step

    assert isinstance(step, Step)
    node = defs.resolve_asset_graph().get(dg.AssetKey(step.name))
    assert node.partitions_def == partitions
    assert {key.to_user_string() for key in node.parent_keys} == set(step.parents)
    assert node.code_version == step.code_version
    assert node.pools == ({"gpu"} if step.gpu else set())


def test_partition_keys_are_cells() -> None:
    from icd_assets.defs.assets import partitions
    from icd_assets.experiment.catalog import Catalog

    assert set(partitions.get_partition_keys()) == {cell.key for cell in Catalog.load().cells}


def test_libraries_do_not_know_dagster() -> None:
    knows = {"assets", "automation", "cli"}
    for path in PACKAGE.rglob("*.py"):
        inside = path.relative_to(PACKAGE)
        if inside.parts[0] in knows or inside.name == "definitions.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                assert name.split(".")[0] != "dagster", inside
                assert not name.startswith(
                    ("icd_assets.defs.assets", "icd_assets.defs.automation", "icd_assets.cli")
                ), inside


@pytest.mark.parametrize(("given", "meant"), [("~/mine", "home/mine"), ("", "elsewhere"), ("here", "work/here")])
def test_the_launchpads_results_root_is_what_a_shell_would_make_of_it(
    given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RESULT_DIR", str(tmp_path / "elsewhere"))
    assert SharedResource(results_root=given).store().root == tmp_path / meant
