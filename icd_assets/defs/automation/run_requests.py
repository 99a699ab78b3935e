"""What schedules and sensors have in common: the cells they care for, and the run that trains one again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import dagster as dg

from icd_assets.defs.assets.step_asset import GRPO_EPOCHS
from icd_assets.defs.runs.run_config import build_run_config
from icd_assets.defs.runs.run_status import TO_MAKE_SOMETHING
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.catalog_entries import AutomationEntry
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.experiment.steps import STEP, STEPS
from icd_assets.experiment.v2_source import has_own_v2
from icd_assets.lineage.as_made import Warn, chosen

Recipe = Literal["rce_recipe", "grpo_recipe"]


def entry(name: str) -> AutomationEntry:
    """The catalog's entry of an automation, its assets checked."""
    found = Catalog.load().automation.get(name) or AutomationEntry(name=name)
    if unknown := [asset for asset in found.force if asset not in STEP]:
        raise UserError(f"catalog: automation.{name}.force: there is no asset {unknown[0]!r}; fix that field.")
    return found


def experiments(found: AutomationEntry, warn: Warn) -> Iterator[Experiment]:
    """The cells that an automation cares for, read anew at every tick; ``warn`` takes what could not be read."""
    yield from chosen(results_root(), Catalog.load(), found.cells, found.settings, warn)


def recipe_of(experiment: Experiment) -> Recipe:
    """The recipe of what a cell recommends; where it recommends nothing yet, of its settings."""
    source = experiment.config("v2format_checkpoint").source
    if source == "auto":
        source = "grpo" if experiment.config("grpo_checkpoints").grpo_epochs else "rce"
    return "grpo_recipe" if source == "grpo" else "rce_recipe"


def request(experiment: Experiment, found: AutomationEntry, recipe: Recipe, reason: str) -> dg.RunRequest:
    """The run; ``reason`` makes its key unique, so that the same cause never asks twice."""
    left_out = set() if recipe == "grpo_recipe" else {"grpo_checkpoints"}
    if "beam_data" not in found.force and has_own_v2(experiment):
        left_out.add("beam_data")
    names = [step.name for step in STEPS if step.name not in left_out]
    config = build_run_config(experiment.settings, experiment.store.root, names, frozenset(found.force))
    if recipe == "grpo_recipe" and not experiment.config("grpo_checkpoints").grpo_epochs:
        config["ops"]["grpo_checkpoints"]["config"]["grpo_epochs"] = GRPO_EPOCHS
    phase = recipe.removesuffix("_recipe")
    config["ops"]["v2format_checkpoint"]["config"]["source"] = phase
    return dg.RunRequest(
        run_key=f"{found.name}:{experiment.cell.key}{experiment.suffix}:{reason}",
        job_name=recipe,
        partition_key=experiment.cell.key,
        run_config=config,
        asset_selection=[dg.AssetKey(name) for name in [*names, "leaderboard"]],
    )


def at_work(instance: dg.DagsterInstance, experiment: Experiment) -> bool:
    """Whether a run of the cell is under way: what it will make is not yet on disk."""
    mine = dg.RunsFilter(tags={"dagster/partition": experiment.cell.key}, statuses=TO_MAKE_SOMETHING)
    return bool(instance.get_runs(mine, limit=1))
