"""What the two assets of labels share: asking for them, and what is shown of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.assets import inputs
from icd_assets.assets.figures import Markdown, Table
from icd_assets.assets.step_run import Report, StepRun

if TYPE_CHECKING:
    from icd_assets.scoring.step_labels import Label


def labels_report(
    run: StepRun,
    pools: Mapping[int, tuple[int, ...]],
    prefixes: Mapping[int, Sequence[tuple[int, ...]]],
    label: Label,
    path: Path,
) -> Report:
    """Labels of every candidate after each of a query's ``prefixes``, in their order."""
    from icd_assets.pools.rows import all_rows
    from icd_assets.scoring.collect_step_labels import collect_step_labels
    from icd_assets.scoring.step_label_file import write_step_labels
    from icd_assets.scoring.step_labels import facts

    experiment, library = run.experiment, run.experiment.data.train
    asked = {row: pools[row] for row in prefixes}
    inputs.require_images(run, (library[row] for row in all_rows(asked)))
    with inputs.open_vlm(run) as vlm:
        found = collect_step_labels(
            [library[row] for row in prefixes],
            asked,
            library,
            vlm,
            prefixes,
            label=label,
            metric=inputs.metric(run, library) if label == "accuracy" else None,
            best_score=experiment.task.best_score,
            on_progress=run.on_progress,
        )
    staged = run.staging / "labels.json"
    write_step_labels(staged, found, asked, label=label, meta={"lineage": run.spec.lineage()})
    return Report(files={path: staged}, facts={**facts(found), "label": label, **vlm.counts})


def show_labels(facts: Mapping[str, Any]) -> dict[str, Markdown | Table]:
    shown = {
        "before it": facts["mean_before"],
        "with one at random": facts["mean_label"],
        "with the best one": facts["mean_best_label"],
    }
    return {"worth_of_a_pick": Table([{facts["label"]: name, "mean": round(v, 4)} for name, v in shown.items()])}
