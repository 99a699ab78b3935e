"""single_labels: per anchor, the likelihood of the true answer with each single candidate, and with none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icd_assets.assets import inputs
from icd_assets.assets.figures import Markdown, Table
from icd_assets.assets.labels import labels_report, show_labels
from icd_assets.assets.step_run import Report, StepRun


def single_labels(run: StepRun) -> Report:
    pools = inputs.train_pools(run)
    rows = [*pools][: run.config.rows]  # in the order drawn, so that more rows keep the answers for these
    prefixes = {row: [()] for row in rows}
    return labels_report(run, pools, prefixes, run.config.label, run.experiment.paths.single_labels)


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    return show_labels(facts)
