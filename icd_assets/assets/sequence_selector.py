"""sequence_selector: new weights, trained on the labels of singles and of sequences together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icd_assets.assets.figures import Markdown, Table
from icd_assets.assets.learned import show_learned, train_stage
from icd_assets.assets.step_run import Report, StepRun


def sequence_selector(run: StepRun) -> Report:
    return train_stage(run, "sequence_selector", start=None)


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    return show_learned(facts)
