"""Scheduled re-runs of whole cells, off until switched on: a cell that is up to date is not run."""

from __future__ import annotations

import dagster as dg

from icd_assets.defs.automation.jobs import grpo_recipe, rce_recipe
from icd_assets.defs.automation.run_requests import JobName, begun, entry, experiments, job_of, request
from icd_assets.defs.runs.dagster_private import is_valid_cron_schedule
from icd_assets.errors import UserError


def _schedule(name: str, recipe: JobName, job: dg.JobDefinition | object) -> dg.ScheduleDefinition:
    declared = entry(name)
    if not is_valid_cron_schedule(declared.cron):
        raise UserError(f"catalog: automation.{name}.cron {declared.cron!r} is no cron schedule; fix that field.")

    @dg.schedule(
        name=name,
        job=job,  # type: ignore[arg-type]
        cron_schedule=declared.cron,
        execution_timezone=declared.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"{recipe} for the cells of automation.{name} in the catalog, or every trained cell"
        + (", but those whose GRPO is recommended." if recipe == "rce_recipe" else "."),
    )
    def rerun(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        found = entry(name)
        when = context.scheduled_execution_time.isoformat()
        requests, quiet = [], []
        for experiment in experiments(found, context.log.warning):
            own = job_of(experiment)
            if own not in ("rce_recipe", "grpo_recipe") and begun(experiment):
                context.log.info(f"{experiment.cell}: it is of {own}; the sensor new_inputs runs it again.")
                continue
            if recipe == "rce_recipe" and own == "grpo_recipe":
                context.log.info(f"{experiment.cell}: its GRPO stays recommended; grpo_schedule runs it again.")
                continue
            try:
                asked = request(experiment, found, recipe, when)
                if asked is not None:
                    requests.append(asked)
                else:
                    quiet.append(experiment.cell.key)
            except UserError as error:  # one cell's problem does not stop the others
                context.log.warning(f"{experiment.cell}: {error}")
        if quiet and not requests:
            return dg.SkipReason(f"nothing to do: up to date is {', '.join(quiet)}")
        nothing = "no cell is trained yet and the catalog names none, or this tick's log says why each was left"
        return requests or dg.SkipReason(nothing)

    return rerun


SCHEDULES = [
    _schedule("rce_schedule", "rce_recipe", rce_recipe),
    _schedule("grpo_schedule", "grpo_recipe", grpo_recipe),
]
