"""``icd-assets train --dry-run --json``: the plan as one object."""

from __future__ import annotations

from typing import Any

from icd_assets.experiment.plan import Plan

PLAN_SCHEMA = 1


def plan_document(plan: Plan) -> dict[str, Any]:
    """The cell, where it lies, and each step with the reason to make it."""
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
    }
