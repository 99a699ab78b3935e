"""A step is placed by what its run needs: the same asset with a GPU or without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml

from icd_assets.defs.executors.fitted import fit_kubernetes, fit_ray, fitted
from icd_assets.defs.executors.needs import gpus_needed
from icd_assets.defs.runs.run_config import build_run_config
from icd_assets.experiment.settings import read_settings
from icd_assets_tests.worlds.manifests import KEY, World

NAMES = ("candidate_pools", "beam_data", "v2_checkpoint", "embeddings", "rl_data", "evaluation")
SERVED = {"endpoint": {"url": "http://127.0.0.1:1/v1", "model": "m", "server": "vllm", "likelihoods": "vllm"}}


def run_of(world: World, force: tuple[str, ...] = (), key: str = KEY, **variables: str) -> dg.DagsterRun:
    """As the command, the schedules and the sensors ask for it: all settings given."""
    settings = read_settings(environment={"RECIPE": "beams", **variables})
    config = build_run_config(settings, world.root, list(NAMES), frozenset(force))
    return dg.DagsterRun(job_name="job", run_config=config, tags={"dagster/partition": key})


def clicked(world: World, **sections: Mapping[str, Any]) -> dg.DagsterRun:
    """As the UI's button does it: nothing set but where the results are."""
    config = {"resources": {"shared": {"config": {"results_root": str(world.root)}}}, **sections}
    return dg.DagsterRun(job_name="__ASSET_JOB", run_config=config, tags={"dagster/partition": KEY})


def serve(world: World) -> None:
    path = world.folder / "catalog.yaml"
    catalog = yaml.safe_load(path.read_text())
    model = catalog["models"]["m0"]
    catalog["models"]["m0"] = {"aliases": model["aliases"], **SERVED, "generation": model["generation"]}
    path.write_text(yaml.safe_dump(catalog))


def needs(run: dg.DagsterRun) -> dict[str, int]:
    return {name: gpus_needed(run, name) for name in NAMES if gpus_needed(run, name)}


def test_what_is_made_with_the_model_here_gets_a_gpu(world: World) -> None:
    all_of_them = dict.fromkeys(NAMES[1:], 1)
    assert needs(run_of(world)) == all_of_them
    assert needs(clicked(world)) == dict.fromkeys(
        [name for name in all_of_them if name in needs(clicked(world))], 1
    )
    assert gpus_needed(clicked(world), "embeddings") == 1


def test_where_a_server_answers_only_selectors_and_clip_need_one(world: World) -> None:
    serve(world)
    assert needs(run_of(world)) == {"v2_checkpoint": 1, "embeddings": 1}


def test_what_is_up_to_date_needs_none_unless_it_is_forced(world: World) -> None:
    world.cell()
    assert needs(run_of(world, GRPO_EPOCHS="3")) == {}
    assert needs(clicked(world)) == {}
    assert needs(run_of(world, ("rl_data",), GRPO_EPOCHS="3")) == {"rl_data": 1}
    assert needs(run_of(world, GRPO_EPOCHS="3", TEST_DATA_NUM="3")) == {"evaluation": 1}, "another artifact"


def test_several_workers_of_a_step_that_asks_the_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICD_WORKERS", "4")
    found = needs(run_of(world))
    assert (found["rl_data"], found["beam_data"], found["embeddings"]) == (4, 4, 1)


@pytest.mark.parametrize("workers", ["ray", "ray:4"])
def test_where_rays_workers_answer_the_step_itself_takes_no_gpu_from_them(
    workers: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICD_WORKERS", workers)
    assert needs(run_of(world)) == {"v2_checkpoint": 1, "embeddings": 1}


@pytest.mark.parametrize("key", ["nonsense", "d0|RandSampler/nobody", "d0|../m0", "|/"])
def test_a_run_of_no_cell_waits_for_no_gpu(key: str, world: World) -> None:
    assert needs(run_of(world, key=key)) == {}


def test_settings_that_cannot_be_and_what_is_no_step(world: World) -> None:
    assert gpus_needed(run_of(world), "leaderboard") == gpus_needed(run_of(world), "x") == 0
    wrong = clicked(world, ops={"embeddings": {"config": {"batch_size": -1}}})
    assert gpus_needed(wrong, "embeddings") in (0, 1)
    elsewhere = clicked(world, ops={"embeddings": {"config": {"batch_size": {"env": "SIZE"}}}})
    assert gpus_needed(elsewhere, "embeddings") == 1
    assert gpus_needed(dg.DagsterRun(job_name="job"), "embeddings") == 0


def test_the_tags_of_each_cluster() -> None:
    assert fit_ray({"a": "b"}, 0) == fit_kubernetes({"a": "b"}, 0) == {"a": "b"}
    assert json.loads(fit_ray({}, 2)["dagster-ray/config"]) == {"num_gpus": 2}
    limits = json.loads(fit_kubernetes({"a": "b"}, 2)["dagster-k8s/config"])
    assert limits == {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "2"}}}}


def test_ray_and_kubernetes_read_them() -> None:
    configs = pytest.importorskip("dagster_ray.configs", reason="needs icd-assets[ray]")
    assert configs.RayExecutionConfig.from_tags(fit_ray({}, 2)).num_gpus == 2
    job = pytest.importorskip("dagster_k8s.job", reason="needs icd-assets[k8s]")
    found = job.get_user_defined_k8s_config(fit_kubernetes({}, 2))
    assert found.container_config["resources"]["limits"] == {"nvidia.com/gpu": "2"}


def test_a_step_is_launched_with_the_tags_of_its_run(world: World) -> None:
    """Through an executor of the kind that both are: one that hands each step to a handler."""
    launched = []

    def create(context: dg.InitExecutorContext) -> Any:
        handler = SimpleNamespace(launch_step=lambda step: launched.append((step.step_tags, step.other)))
        return SimpleNamespace(_step_handler=handler, _max_concurrent=None)

    definition = fitted(dg.ExecutorDefinition("placing", executor_creation_fn=create), fit_ray, 3)
    assert definition.executor_creation_fn is not None
    made: Any = definition.executor_creation_fn(None)  # type: ignore[arg-type]
    run = run_of(world)
    made._step_handler.launch_step(
        SimpleNamespace(dagster_run=run, step_tags={"rl_data": {"icd/gpu": "1"}, "x": {}}, other=1)
    )
    ((tags, other),) = launched
    assert json.loads(tags["rl_data"]["dagster-ray/config"]) == {"num_gpus": 1}
    assert (tags["x"], other, made._max_concurrent) == ({}, 1, 3)
