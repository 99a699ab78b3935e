"""``icd-assets train --dry-run --json``: the plan, what it does besides, and the checks, as one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icd_assets.cli.echo import echo
from icd_assets.cli.json_output import print_json
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.recipe_cost import RecipeCost, recipe_costs
from icd_assets.experiment.recipes import recipe_of
from icd_assets.runtime.finding import Finding

SCHEMA = 1


def show_plan_as_json(plan: Plan) -> None:
    """Print it; raises ``UserError`` after it, if something is in the way."""
    from icd_assets.cli.checked import require_no_problem

    document, found = plan_document(plan)
    print_json(SCHEMA, document)
    require_no_problem(found)


def plan_document(plan: Plan) -> tuple[dict[str, Any], list[Finding]]:
    """The plan as an object, and what the checks found."""
    from icd_assets.experiment.checks import Look, check
    from icd_assets.experiment.plan_notes import notes

    def note(sentence: str) -> None:
        echo(f"icd-assets: {sentence}", err=True)

    look = Look(plan, note=note)
    besides, found = list(notes(plan)), list(check(look))
    costs = recipe_costs(plan.experiment, look.rows) if "train" in look.rows else []
    return _document(plan, besides, found, costs), found


def _document(
    plan: Plan, besides: Sequence[str], found: Sequence[Finding], costs: Sequence[RecipeCost]
) -> dict[str, Any]:
    experiment = plan.experiment
    return {
        "cell": str(experiment.cell),
        "results_root": str(experiment.store.root),
        "reward": experiment.reward.mode,
        "settings": experiment.settings.model_dump(mode="json"),
        "steps": [
            {
                "asset": item.step.name,
                "to_make": item.reason is not None,
                "reason": item.reason,
                "origin": item.origin,
                "manifest": str(experiment.manifest_path(item.step.name)),
            }
            for item in plan.steps
        ],
        "to_make": plan.to_make,
        "recipe": recipe_of(experiment),
        "recipes": [
            {
                "recipe": one.recipe,
                "chosen": one.chosen,
                "prompts_at_most": dict(one.prompts),
                "total": one.total,
                "tflop": one.tflop,
            }
            for one in costs
        ],
        "notes": list(besides),
        "findings": [
            {"subject": one.subject, "level": one.level, "found": one.found, "todo": one.todo} for one in found
        ],
    }
