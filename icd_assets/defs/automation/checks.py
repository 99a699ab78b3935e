"""Blocking checks: bad RL data or a bad checkpoint stops the run before it costs a GPU more."""

# No postponed annotations here: Dagster reads the types of a check's parameters as they are.
import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from icd_assets.defs.assets.partitions import partitions
from icd_assets.defs.assets.resources import RewardResource, SharedResource, open_experiment
from icd_assets.defs.assets.units import with_unit
from icd_assets.defs.runs.dagster_private import PreviewWarning
from icd_assets.experiment.checks.judges import Verdict, failed, judge
from icd_assets.experiment.steps import STEP

# Checks per partition are a preview in this Dagster, and the one way to keep each cell's result.
warnings.filterwarnings("ignore", category=PreviewWarning)


def _check(asset: str, name: str, description: str) -> Any:
    """The judgement of one asset, per partition; blocking."""

    @dg.asset_check(asset=asset, name=name, description=description, blocking=True, partitions_def=partitions)
    def check(
        context: dg.AssetCheckExecutionContext, shared: SharedResource, reward: RewardResource
    ) -> dg.AssetCheckResult:
        experiment = open_experiment(context.partition_key, shared, reward)
        if asset == "grpo_checkpoints" and experiment.manifest(asset) is None:
            return _result(True, "there are no GRPO epochs to check", {})
        if experiment.manifest(asset) is None and (because := STEP[asset].left_out(experiment)) is not None:
            return _result(True, f"nothing to check: {because}", {})
        verdict = judge(experiment, asset)
        why = _fit(verdict) if verdict.reason is None else failed(asset, verdict)
        return _result(verdict.reason is None, why, verdict.measured)

    return check


def _result(passed: bool, reason: str, measured: Mapping[str, Any]) -> dg.AssetCheckResult:
    """The reason is the result's description, which a list of checks shows; beside it stands what was measured."""
    return dg.AssetCheckResult(
        passed=passed,
        metadata={"reason": reason, **_named(measured)},
        severity=dg.AssetCheckSeverity.ERROR,
        description=reason,
    )


def _fit(verdict: Verdict) -> str:
    measured = ", ".join(f"{name} {value}" for name, value in _named(verdict.measured).items())
    return f"fit to build on: {measured}." if measured else "fit to build on."


def _named(measured: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name if isinstance(value, str) else with_unit(name): round(value, 4) if isinstance(value, float) else value
        for name, value in measured.items()
    }


CHECKS = [
    _check("rl_data", "rows_rewards_signal", "Every query has pointers, rewards are in range, and some teach."),
    _check("single_labels", "labels_that_teach", "Every label is in range, and some candidates are better."),
    _check("step_labels", "labels_that_teach", "Every label is in range, and some candidates are better."),
    _check("singles_selector", "all_tensors_finite", "Every tensor is there, has its shape, and is finite."),
    _check("sequence_selector", "all_tensors_finite", "Every tensor is there, has its shape, and is finite."),
    _check("rl_selector", "all_tensors_finite", "Every tensor is there, has its shape, and is finite."),
    _check("v2_checkpoint", "all_tensors_finite", "Every tensor is there, has its shape, and is finite."),
    _check("rce_checkpoints", "all_tensors_finite", "Every epoch's tensors are there, fit, and are finite."),
    _check("grpo_checkpoints", "all_tensors_finite", "Every epoch's tensors are there, fit, and are finite."),
    _check("v2format_checkpoint", "forward_equality", "The converted selector computes what its source computes."),
]
