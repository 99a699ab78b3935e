"""A step is placed by what it needs in its run: a GPU only where this cell's artifact is made with one.

Gap: Dagster (1.13.27) takes an asset's tags when it is loaded, not in a run. A GPU asked for there is asked for
where a server answers and where the artifact is up to date too, and a cluster without one lets the step wait for
ever. Here the step's tags are made when the run's worker places it, whoever asked for the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from icd_assets.defs.executors.needs import gpus_needed

Fit = Callable[[Mapping[str, str], int], Mapping[str, str]]


def fit_ray(tags: Mapping[str, str], gpus: int) -> Mapping[str, str]:
    """``tags`` with so many GPUs as dagster-ray asks for them."""
    return {**tags, "dagster-ray/config": json.dumps({"num_gpus": gpus})} if gpus else tags


def fit_kubernetes(tags: Mapping[str, str], gpus: int) -> Mapping[str, str]:
    """The same for dagster-k8s."""
    limits = {"container_config": {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}}
    return {**tags, "dagster-k8s/config": json.dumps(limits)} if gpus else tags


def fitted(definition: dg.ExecutorDefinition, fit: Fit, at_once: int | None = None) -> dg.ExecutorDefinition:
    """``definition``, of an executor that places each step elsewhere, with the tags that ``fit`` makes in the run;
    ``at_once``: so many steps of a run at a time."""
    original: Any = definition.executor_creation_fn

    def create(context: dg.InitExecutorContext) -> dg.Executor:
        made: Any = original(context)
        handler = made._step_handler
        place = handler.launch_step
        handler.launch_step = lambda step: place(_Fitted(step, fit))
        if at_once is not None:
            made._max_concurrent = at_once
        return made  # type: ignore[no-any-return]

    return dg.ExecutorDefinition(
        name=definition.name,
        config_schema=definition.config_schema,  # type: ignore[arg-type]
        requirements=definition.get_requirements,
        executor_creation_fn=create,
        description=definition.description,
    )


class _Fitted:
    """A step handler's context, with other tags."""

    def __init__(self, context: Any, fit: Fit) -> None:
        self._context = context
        self._fit = fit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    @property
    def step_tags(self) -> dict[str, Mapping[str, str]]:
        run: dg.DagsterRun = self._context.dagster_run
        plain: Mapping[str, Mapping[str, str]] = self._context.step_tags
        return {step: self._fit(tags, gpus_needed(run, step)) for step, tags in plain.items()}
