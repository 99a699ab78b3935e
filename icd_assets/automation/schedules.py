"""Scheduled re-runs of whole cells, off until switched on: unchanged inputs cost a second, not a GPU."""

from __future__ import annotations

import dagster as dg
from dagster._utils.schedules import is_valid_cron_schedule

from icd_assets.automation.jobs import grpo_recipe, rce_recipe
from icd_assets.automation.run_requests import Recipe, entry, experiments, request
from icd_assets.errors import UserError


def _schedule(name: str, recipe: Recipe, job: dg.JobDefinition | object) -> dg.ScheduleDefinition:
    declared = entry(name)
    if not is_valid_cron_schedule(declared.cron):
        raise UserError(f"catalog: automation.{name}.cron {declared.cron!r} is no cron schedule; mend that field.")

    @dg.schedule(
        name=name,
        job=job,  # type: ignore[arg-type]
        cron_schedule=declared.cron,
        execution_timezone=declared.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"{recipe} for the cells of automation.{name} in the catalog, or every trained cell.",
    )
    def rerun(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        found = entry(name)
        when = context.scheduled_execution_time.isoformat()
        requests = []
        for experiment in experiments(found):
            try:
                requests.append(request(experiment, found, recipe, when))
            except UserError as error:  # one cell's problem does not stop the others
                context.log.warning(f"{experiment.cell}: {error}")
        nothing = "no cell is trained yet and the catalog names none, or each has a problem (see the log)"
        return requests or dg.SkipReason(nothing)

    return rerun


SCHEDULES = [
    _schedule("rce_schedule", "rce_recipe", rce_recipe),
    _schedule("grpo_schedule", "grpo_recipe", grpo_recipe),
]
