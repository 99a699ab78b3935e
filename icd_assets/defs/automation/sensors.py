"""Sensors. Those that ask for runs are off until switched on; they look at content, not at times: a file that is
copied again, or touched, asks for nothing, and the same change is asked for once."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from icd_assets.defs.automation.jobs import JOBS, grpo_recipe
from icd_assets.defs.automation.run_requests import at_work, entry, experiments, job_of, request
from icd_assets.defs.runs.dead_runs import close_dead_runs
from icd_assets.defs.runs.known_cells import add_cells_of, fingerprint
from icd_assets.errors import UserError
from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.catalog_entries import AutomationEntry
from icd_assets.experiment.experiment import Experiment, results_root
from icd_assets.lineage.as_made import changed_inputs, digest_of, rl_data_new_to_grpo
from icd_assets.store.store import Store

Judge = Callable[[Experiment, AutomationEntry], dg.RunRequest | None]


def _each_cell(context: dg.SensorEvaluationContext, name: str, judge: Judge) -> dg.SensorResult:
    """One request per cell that ``judge`` asks for; a cell with a problem does not stop the others."""
    found = entry(name)
    requests: list[dg.RunRequest] = []
    problems: list[str] = []
    for experiment in experiments(found, problems.append):
        if at_work(context.instance, experiment):
            continue
        try:
            asked = judge(experiment, found)
        except UserError as error:
            problems.append(f"{experiment.cell}: {error}")
            continue
        requests += [asked] if asked is not None else []
    for problem in problems:
        context.log.warning(problem)
    quiet = "; ".join(problems) or "nothing has changed"
    return dg.SensorResult(run_requests=requests, skip_reason=None if requests else quiet)


@dg.sensor(
    name="new_inputs",
    jobs=JOBS,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Trains a cell again when its v2 checkpoint, dataset files or models have other content than "
    "what it was made from.",
)
def new_inputs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    def judge(experiment: Experiment, found: AutomationEntry) -> dg.RunRequest | None:
        changed = changed_inputs(experiment)
        if not changed:
            return None
        context.log.info(f"{experiment.cell}: {', '.join(changed)}")
        return request(experiment, found, job_of(experiment), digest_of(changed))

    return _each_cell(context, "new_inputs", judge)


@dg.sensor(
    name="offer_grpo",
    job=grpo_recipe,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Runs GRPO for RL data that no GRPO checkpoint has learned from.",
)
def offer_grpo(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    def judge(experiment: Experiment, found: AutomationEntry) -> dg.RunRequest | None:
        version = rl_data_new_to_grpo(experiment)
        return None if version is None else request(experiment, found, "grpo_recipe", version)

    return _each_cell(context, "offer_grpo", judge)


@dg.sensor(
    name="cells",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,  # it runs nothing: the list of partitions is kept up to date
    description="Adds a partition for each cell that has artifacts under the results root.",
)
def cells(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    store, catalog = Store(results_root()), Catalog.load()
    there = fingerprint(store.root, catalog)
    if there == context.cursor:
        return dg.SkipReason("no artifact was added")
    added = add_cells_of(context.instance, store, catalog)
    context.update_cursor(there)
    return dg.SkipReason(f"added: {', '.join(added)}" if added else "every cell with artifacts is a partition")


@dg.sensor(
    name="dead_runs",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,  # nothing else ends them while no command is called
    description="Marks runs as failed whose process is gone, wherever it was, and frees the slots that they hold.",
)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    return dg.SkipReason("; ".join(close_dead_runs(context.instance)) or "no run is dead")


SENSORS = [cells, dead_runs, new_inputs, offer_grpo]
