"""beam_data: per anchor, the demonstrations that raise the likelihood of the true answer most."""

from __future__ import annotations

from icd_assets.assets import inputs
from icd_assets.assets.step_run import Report, StepRun


def beam_data(run: StepRun) -> Report:
    from icd_assets.pools.rows import all_rows
    from icd_assets.scoring.beam_file import write_beams
    from icd_assets.scoring.collect_beams import collect_beams

    library, pools = run.experiment.data.train, inputs.train_pools(run)
    inputs.require_images(run, (library[row] for row in all_rows(pools)))
    anchors = [library[row] for row in pools]
    with inputs.open_vlm(run) as vlm:
        found = collect_beams(anchors, pools, library, vlm, run.config, on_progress=run.on_progress)
    path = run.experiment.paths.beam_data
    write_beams(run.staging / "beams.json", found)
    best = [beams.beams[0].score for beams in found.values()]
    return Report(
        files={path: run.staging / "beams.json"},
        facts={
            "rows": len(found),
            "mean_best_score": sum(best) / len(best),
            **vlm.counts,
        },
    )
