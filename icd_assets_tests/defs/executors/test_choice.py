"""Which executor the environment names, and the sentence for one that it cannot be."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from icd_assets.defs.executors import EXECUTORS, choice, executor
from icd_assets.errors import UserError
from icd_assets_tests.programs import program

NEEDED = {"ray": "dagster_ray", "kubernetes": "dagster_k8s"}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ICD_EXECUTOR", "ICD_EXECUTOR_CONFIG", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "executor.yaml"
    monkeypatch.setenv("ICD_EXECUTOR_CONFIG", str(path))
    return path


def name_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name in NEEDED and find_spec(NEEDED[name]) is None:
        pytest.skip(f"needs icd-assets[{'k8s' if name == 'kubernetes' else name}]")
    monkeypatch.setenv("ICD_EXECUTOR", name)


def settings_of(definition: dg.ExecutorDefinition) -> dict[str, Any]:
    job = dg.GraphDefinition("one").to_job(executor_def=definition)
    (found,) = dg.validate_run_config(job, {})["execution"].values()
    return dict(found)


def test_without_a_word_each_step_has_a_process_and_two_are_at_work() -> None:
    assert executor().name == "multiprocess"
    assert settings_of(executor())["max_concurrent"] == 2


@pytest.mark.parametrize(
    ("name", "found"),
    [("in_process", "in_process"), ("multiprocess", "multiprocess"), ("ray", "ray"), ("kubernetes", "k8s")],
)
def test_each_can_be_named(name: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name_it(monkeypatch, name)
    assert executor().name == found
    assert name in EXECUTORS


@pytest.mark.parametrize("name", ["", "mutliprocess", "Ray", "ray\x1b[2J", "x" * 10_000])
def test_a_name_that_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICD_EXECUTOR", name)
    if name == "":
        assert executor().name == "multiprocess"
        return
    with pytest.raises(UserError, match=r"^ICD_EXECUTOR is .*; valid: in_process, multiprocess, ray") as refused:
        executor()
    assert len(str(refused.value)) < 300 and "\x1b" not in str(refused.value)


@pytest.mark.parametrize(("name", "extra"), [("ray", "ray"), ("kubernetes", "k8s")])
def test_what_is_not_installed_is_named(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda package: None)
    monkeypatch.setenv("ICD_EXECUTOR", name)
    with pytest.raises(UserError, match=rf"^ICD_EXECUTOR={name} needs .*icd-assets\[{extra}\]"):
        executor()


@pytest.mark.parametrize("name", ["multiprocess", "ray", "kubernetes"])
def test_the_limit_of_steps_at_once(name: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_it(monkeypatch, name)
    config.write_text("max_concurrent: 5\n")
    definition = executor()
    if name != "ray":  # whose schema lacks it
        assert settings_of(definition)["max_concurrent"] == 5


def test_ray_has_where_it_is_and_what_its_steps_need(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_it(monkeypatch, "ray")
    monkeypatch.setenv("RAY_ADDRESS", "http://10.0.0.7:8265")
    monkeypatch.setenv("RESULT_DIR", "/shared/results")
    monkeypatch.setenv("ICD_UI_TOKEN", "secret")
    config.write_text("ray: {env_vars: [HF_HOME], runtime_env: {env_vars: {A: b}}}\nmax_concurrent: 3\n")
    ray = settings_of(executor())["ray"]
    assert ray["address"] == "http://10.0.0.7:8265"
    assert {"RESULT_DIR=/shared/results", "ICD_EXECUTOR=ray", "HF_HOME"} <= set(ray["env_vars"])
    assert "secret" not in str(ray)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_concurrent: 0", "max_concurrent is 0;"),
        ("max_concurrent: true", "max_concurrent is True;"),
        ("max_concurrent: many", "max_concurrent is 'many'"),
        (f"max_concurrent: {10**60}", "is not readable YAML"),
        ("max_concurent: 3", 'unexpected config entry "max_concurent"'),
        ("start_method: {fork: {}}", "start_method"),
        ("- 1", "holds no settings"),
        ("1: 2", "is not readable YAML"),
        ("a: [", "is not readable YAML"),
        ("&a [*a, *a]", "YAML|no settings"),
    ],
)
def test_a_file_that_is_wrong(text: str, words: str, config: Path) -> None:
    config.write_text(text)
    with pytest.raises(UserError, match=words) as refused:
        executor()
    assert str(refused.value).startswith("ICD_EXECUTOR_CONFIG: ")
    assert len(str(refused.value).replace(str(config), "")) < 400 and "\n" not in str(refused.value)


def test_a_file_that_is_not_there_or_empty(config: Path) -> None:
    with pytest.raises(UserError, match=r"^ICD_EXECUTOR_CONFIG: .* cannot be read"):
        executor()
    config.write_bytes(b"")
    assert settings_of(executor())["max_concurrent"] == 2
    config.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match=r"^ICD_EXECUTOR_CONFIG: "):
        executor()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray", "kubernetes"])
def test_definitions_stay_light(name: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_it(monkeypatch, name)
    config.write_text(yaml.safe_dump({"max_concurrent": 2}))
    command = program("heavy_imports", "icd_assets.definitions")
    loaded = json.loads(subprocess.run(command, check=True, timeout=120, capture_output=True, text=True).stdout)
    assert not {"torch", "transformers", "numpy", "ray"} & set(loaded)
