"""step_labels: per anchor, a label for each candidate after picks that the selector of singles proposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icd_assets.assets import inputs
from icd_assets.assets.figures import Markdown, Table
from icd_assets.assets.labels import labels_report, show_labels
from icd_assets.assets.step_run import Report, StepRun


def step_labels(run: StepRun) -> Report:
    from icd_assets.scoring.prefixes import propose_prefixes

    pools = inputs.train_pools(run)
    rows = [*inputs.labels(run, "single_labels").steps][: run.config.rows]
    prefixes = propose_prefixes(
        inputs.selector(run, "singles_selector"),
        {row: pools[row] for row in rows},
        inputs.embeddings(run),
        per_length=run.config.prefixes,
        longest=run.config.longest,
        seed=run.config.seed,
    )
    return labels_report(run, pools, prefixes, run.spec.config["label"], run.experiment.paths.step_labels)


def show(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    return show_labels(facts)
