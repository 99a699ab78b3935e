"""rl_selector: goes on from the last selector with rewards of pointers, and all labels beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icd_assets.assets.figures import Markdown, Table
from icd_assets.assets.learned import show_learned, train_stage
from icd_assets.assets.step_run import Report, StepRun
from icd_assets.experiment.made_from import before


def rl_selector(run: StepRun) -> Report:
    return train_stage(run, "rl_selector", start=before(run.experiment))


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    return show_learned(facts)
