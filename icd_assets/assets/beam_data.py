"""beam_data: per anchor, the demonstrations that raise the likelihood of the true answer most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icd_assets.assets import inputs
from icd_assets.assets.step_run import Report, StepRun

if TYPE_CHECKING:
    from icd_assets.scoring.infoscore import QueryBeams

_CHUNK = 16  # queries whose beams are searched together


def beam_data(run: StepRun) -> Report:
    from icd_assets.scoring.beam_file import write_beams
    from icd_assets.scoring.infoscore import infoscore_beams

    library, pools = run.experiment.data.train, inputs.train_pools(run)
    inputs.require_images(run, (library[row] for row in sorted({*pools, *inputs.rows_of(pools)})))
    vlm = inputs.open_vlm(run)
    rows = list(pools)
    found: dict[int, QueryBeams] = {}
    for start in range(0, len(rows), _CHUNK):
        chunk = [library[row] for row in rows[start : start + _CHUNK]]
        found |= infoscore_beams(chunk, pools, library, vlm, run.config)
        run.on_progress(len(found), len(rows))
    path = run.experiment.paths.beam_data
    write_beams(run.staging / "beams.json", found)
    best = [beams.beams[0].score for beams in found.values()]
    return Report(
        files={path: run.staging / "beams.json"},
        facts={
            "rows": len(found),
            "mean_best_score": sum(best) / len(best),
            "vlm_prompts_asked": vlm.asked,
            "vlm_prompts_reused": vlm.reused,
        },
    )
