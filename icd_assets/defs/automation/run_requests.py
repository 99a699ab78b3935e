"""What schedules and sensors have in common: the cells they care for, and the run that trains one again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import dagster as dg

from icd_assets.defs.assets.step_asset import GRPO_EPOCHS
from icd_assets.defs.runs.run_config import build_run_config
from icd_assets.defs.runs.run_status import TO_MAKE_SOMETHING
from icd_assets.defs.runs.unrecorded import may_be_unrecorded
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.catalog_entries import AutomationEntry
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.recipes import STAGES, recipe_of, with_recipe
from icd_assets.experiment.settings import assigned
from icd_assets.experiment.steps import STEP, STEPS
from icd_assets.lineage.as_made import Warn, chosen

JobName = Literal["rce_recipe", "grpo_recipe", "singles_recipe", "sequences_recipe", "rl_recipe"]


def entry(name: str) -> AutomationEntry:
    """The catalog's entry of an automation, its assets checked."""
    found = Catalog.load().automation.get(name) or AutomationEntry(name=name)
    if unknown := [asset for asset in found.force if asset not in STEP]:
        raise UserError(f"catalog: automation.{name}.force: there is no asset {unknown[0]!r}; fix that field.")
    return found


def experiments(found: AutomationEntry, warn: Warn) -> Iterator[Experiment]:
    """The cells that an automation cares for, read anew at every tick; ``warn`` takes what could not be read."""
    yield from chosen(results_root(), Catalog.load(), found.cells, found.settings, warn)


def job_of(experiment: Experiment) -> JobName:
    """The job of what a cell recommends; where it recommends nothing yet, of its settings."""
    match recipe_of(experiment):
        case "singles":
            return "singles_recipe"
        case "sequences":
            return "sequences_recipe"
        case "rl":
            return "rl_recipe"
        case "beams":
            return _of_phase(experiment)


def begun(experiment: Experiment) -> bool:
    """Whether a recipe of labels has trained a selector of the cell."""
    return any(experiment.manifest_path(asset).exists() for asset in STAGES)


def _of_phase(experiment: Experiment) -> JobName:
    source = experiment.config("v2format_checkpoint").source
    if source == "auto":
        source = "grpo" if experiment.config("grpo_checkpoints").grpo_epochs else "rce"
    return "grpo_recipe" if source == "grpo" else "rce_recipe"


def request(experiment: Experiment, found: AutomationEntry, job: JobName, reason: str) -> dg.RunRequest | None:
    """The run, or None if it would find nothing to do; ``reason`` makes its key unique, so that the same cause
    never asks twice."""
    experiment = _under(experiment, job)
    forced = {step.name for step in STEPS if step.on_request and step.name in found.force}
    names = [step.name for step in STEPS if step.name in forced or step.left_out(experiment) is None]
    if _finds_nothing(experiment, found):
        return None
    return dg.RunRequest(
        run_key=f"{found.name}:{experiment.cell.key}{experiment.suffix}:{reason}",
        job_name=job,
        partition_key=experiment.cell.key,
        run_config=build_run_config(experiment.settings, experiment.store.root, names, frozenset(found.force)),
        asset_selection=[dg.AssetKey(name) for name in [*names, "leaderboard"]],
    )


def _finds_nothing(experiment: Experiment, found: AutomationEntry) -> bool:
    """Whether a run would find everything up to date, and Dagster knows of it: it would cost half a minute."""
    try:
        plan = Plan.of(experiment.as_read_only(), force=found.force)
    except UserError:
        return False  # the run fails with that sentence, where it is seen
    return not plan.to_make and not may_be_unrecorded(plan)


def _under(experiment: Experiment, job: JobName) -> Experiment:
    """The cell with what a job decides: the recipe, whether there is GRPO, and which phase is recommended."""
    if job not in ("rce_recipe", "grpo_recipe"):
        return replace(experiment, settings=with_recipe(experiment.settings, recipe_of(experiment)))
    places: dict[str, Any] = {
        "shared.recipe": "beams",
        "v2format_checkpoint.source": job.removesuffix("_recipe"),
    }
    if job == "rce_recipe":
        places["grpo_checkpoints.grpo_epochs"] = 0
    elif not experiment.config("grpo_checkpoints").grpo_epochs:
        places["grpo_checkpoints.grpo_epochs"] = GRPO_EPOCHS
    return replace(experiment, settings=assigned(experiment.settings, places))


def at_work(instance: dg.DagsterInstance, experiment: Experiment) -> bool:
    """Whether a run of the cell is under way: what it will make is not yet on disk."""
    mine = dg.RunsFilter(tags={"dagster/partition": experiment.cell.key}, statuses=TO_MAKE_SOMETHING)
    return bool(instance.get_runs(mine, limit=1))
