"""How many GPUs a step needs in its run: by the cell, its model, the run's settings, and what is made already."""

from __future__ import annotations

from typing import Any

import dagster as dg

from icd_assets.defs.assets.resources import RewardResource, SharedResource
from icd_assets.defs.assets.step_asset import asked_in, launchpad_form, nothing_to_do
from icd_assets.errors import UserError
from icd_assets.experiment.plan import reason
from icd_assets.experiment.step import Step
from icd_assets.experiment.steps import STEP
from icd_assets.runtime.device import wanted_workers


def gpus_needed(run: dg.DagsterRun, name: str) -> int:
    """What a cluster is to be asked for: none where a server or Ray's workers answer, or where the artifact is up
    to date; else one, or ``$ICD_WORKERS`` where several processes can share the step's questions to the model.

    ``name``: a step's or a check's; what is none of our steps needs none. A run that asks for what cannot be gets
    no GPU either: its step says so.
    """
    step = STEP.get(name)
    if step is None or not step.gpu:
        return 0
    partition = run.tags.get("dagster/partition")
    if partition is None:
        return 0
    try:
        return _gpus(run, step, partition)
    except UserError:
        return 0
    except ValueError:  # settings of another form than a plain value, such as {env: NAME}
        return 1


def _gpus(run: dg.DagsterRun, step: Step, partition: str) -> int:
    config = launchpad_form(step)(**_section(run, "ops", step.name))
    shared = SharedResource(**_section(run, "resources", "shared"))
    reward = RewardResource(**_section(run, "resources", "reward"))
    experiment = asked_in(run, step, partition, config, shared, reward).experiment.as_read_only()
    if nothing_to_do(step, experiment, config, run) or not step.needs_gpu(experiment):
        return 0
    try:
        if not config.force and reason(experiment, step, coming=()) is None:  # type: ignore[attr-defined]
            return 0
    except UserError:
        pass  # weights that only the machines with a GPU have
    workers = wanted_workers() if step.asks_vlm(experiment) else None
    return workers if isinstance(workers, int) else 1


def _section(run: dg.DagsterRun, kind: str, name: str) -> dict[str, Any]:
    section: Any = run.run_config
    for key in (kind, name, "config"):
        section = section.get(key) or {}
    return dict(section)
