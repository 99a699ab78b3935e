"""What Dagster loads: light to import, every asset partitioned alike, nothing renamed unseen."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import dagster as dg
import pytest

from icd_assets.definitions import defs
from icd_assets.defs.assets import SharedResource
from icd_assets.experiment.steps import STEPS
from icd_assets_tests.programs import program

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
    "rl_queries",
    "rl_selector",
    "sequence_selector",
    "single_labels",
    "singles_selector",
    "step_labels",
    "v2_checkpoint",
    "v2format_checkpoint",
]
JOBS = ["grpo_recipe", "rce_recipe", "rl_recipe", "sequences_recipe", "singles_recipe"]


def test_definitions_load() -> None:
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    assert sorted(key.to_user_string() for key in graph.get_all_asset_keys()) == ASSETS
    assert sorted(job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")) == JOBS


def test_nothing_is_without_a_description() -> None:
    """The UI has a place for each; what stands there is a sentence."""
    repository, graph = defs.get_repository_def(), defs.resolve_asset_graph()
    found = {key.to_user_string(): graph.get(key).description for key in graph.get_all_asset_keys()}
    found |= {str(check): graph.get_check_spec(check).description for check in graph.asset_check_keys}
    found |= {job.name: job.description for job in defs.resolve_all_job_defs() if job.name in JOBS}
    found |= {one.name: one.description for one in (*repository.schedule_defs, *repository.sensor_defs)}
    assert len(found) == len(ASSETS) + len(JOBS) + 10 + 2 + 4
    assert [name for name, text in found.items() if text is None or not text.endswith(".")] == []


def test_import_is_light() -> None:
    """In a fresh process, as every Dagster process pays it; ≤ 3 s is measured in benchmarks, not here."""
    command = program("heavy_imports", "icd_assets.definitions")
    loaded = json.loads(subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout)
    assert not {"torch", "transformers", "numpy", "matplotlib"} & set(loaded)


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


def test_the_code_location_names_no_cell_by_itself() -> None:
    from icd_assets.defs.assets import partitions

    with dg.DagsterInstance.ephemeral() as instance:
        assert partitions.get_partition_keys(dynamic_partitions_store=instance) == []


# Who may import Dagster, and who whom, import-linter checks: `make check`.


@pytest.mark.parametrize(("given", "meant"), [("~/mine", "home/mine"), ("", "elsewhere"), ("here", "work/here")])
def test_the_launchpads_results_root_is_what_a_shell_would_make_of_it(
    given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RESULT_DIR", str(tmp_path / "elsewhere"))
    assert SharedResource(results_root=given).store().root == tmp_path / meant
