"""Which executor the environment names: ``ICD_EXECUTOR``, and a file with its settings, ``ICD_EXECUTOR_CONFIG``.

``icd-assets train`` is not concerned: its steps are executed in its own process, whatever is named here. Runs of
the UI, of schedules and sensors, and of ``icd-assets train --launch`` are.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import Any

import dagster as dg

from icd_assets.defs.executors.fitted import fit_kubernetes, fit_ray, fitted
from icd_assets.defs.executors.step_variables import step_variables
from icd_assets.errors import UserError
from icd_assets.experiment.suggest import did_you_mean
from icd_assets.runtime.foreign import brief, printable
from icd_assets.runtime.user_path import expanded
from icd_assets.runtime.yaml_file import read_yaml

EXECUTORS = ("in_process", "multiprocess", "ray", "kubernetes")
_AT_ONCE = "max_concurrent"
_MOST_AT_ONCE = 10_000
# One process per step frees all GPU memory when it ends.
_MULTIPROCESS = {"max_concurrent": 2, "start_method": {"forkserver": {}}}
_DASHBOARD = "http://127.0.0.1:8265"  # where `ray start --head` takes jobs

Settings = dict[str, Any]


def executor() -> dg.ExecutorDefinition:
    """The executor that is named, with its settings. Raises ``UserError``."""
    name = os.environ.get("ICD_EXECUTOR") or "multiprocess"
    settings = _settings()
    at_once = settings.get(_AT_ONCE)
    if at_once is not None and not (type(at_once) is int and 1 <= at_once <= _MOST_AT_ONCE):
        raise UserError(
            f"{_file()}: {_AT_ONCE} is {brief(at_once)}; set it to a number of steps, 1 to {_MOST_AT_ONCE:,}."
        )
    match name:
        case "in_process":
            return _configured(dg.in_process_executor, settings)
        case "multiprocess":
            return _configured(dg.multiprocess_executor, _MULTIPROCESS | settings)
        case "ray":
            _require("dagster_ray", name, "ray")
            return _ray(settings)
        case "kubernetes":
            _require("dagster_k8s", name, "k8s")
            return _kubernetes(settings)
    hint = did_you_mean(name, EXECUTORS)
    raise UserError(f"ICD_EXECUTOR is {brief(name)}; valid: {', '.join(EXECUTORS)}{hint}")


def _settings() -> Settings:
    if not (named := os.environ.get("ICD_EXECUTOR_CONFIG")):
        return {}
    path = expanded(named, "ICD_EXECUTOR_CONFIG")
    try:
        content = read_yaml(path)
    except OSError as error:
        raise UserError(f"ICD_EXECUTOR_CONFIG: {path} cannot be read ({error.strerror}); fix the path.") from None
    except ValueError as error:
        raise UserError(f"ICD_EXECUTOR_CONFIG: {path} is not readable YAML ({error}); fix it.") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"ICD_EXECUTOR_CONFIG: {path} holds no settings; write lines like {_AT_ONCE}: 4 into it.")
    return content


def _file() -> str:
    return f"ICD_EXECUTOR_CONFIG: {printable(os.environ.get('ICD_EXECUTOR_CONFIG', ''))}"


def _require(package: str, name: str, extra: str) -> None:
    if find_spec(package) is None:
        raise UserError(f"ICD_EXECUTOR={name} needs a package more: pip install 'icd-assets[{extra}]'.")


def _configured(definition: dg.ExecutorDefinition, settings: Settings) -> dg.ExecutorDefinition:
    """Bound to its settings, and those checked now: Dagster would do it in the first run."""
    bound = definition.configured(settings)
    try:
        dg.validate_run_config(dg.GraphDefinition("settings").to_job(executor_def=bound), {})
    except dg.DagsterInvalidConfigError as error:
        wrong = re.split(r"\.? Expected[: ]", error.errors[0].message)[0].replace("root:config", "its top")
        raise UserError(f"{_file()}: {printable(wrong[:300])}; fix that field.") from None
    return bound


def _ray(settings: Settings) -> dg.ExecutorDefinition:
    from dagster_ray import ray_executor

    given = settings.pop("ray", None)
    if given is not None and not isinstance(given, dict):
        raise UserError(f"{_file()}: ray is no section; write lines such as address: … below it.")
    own: Settings = {"address": os.environ.get("RAY_ADDRESS") or _DASHBOARD, "num_cpus": 1.0} | (given or {})
    own["env_vars"] = [*step_variables(), *(own.get("env_vars") or [])]
    at_once = settings.pop(_AT_ONCE, None)  # dagster-ray's executor heeds it, but its schema lacks it
    return _configured(fitted(ray_executor, fit_ray, at_once), {**settings, "ray": own})


def _kubernetes(settings: Settings) -> dg.ExecutorDefinition:
    from dagster_k8s import k8s_job_executor

    return _configured(fitted(k8s_job_executor, fit_kubernetes), settings)
