"""rl_data: pointers proposed by the v2 selector and by baselines, each answered by the VLM and scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.assets import inputs
from icd_assets.assets.step_run import Report, StepRun

if TYPE_CHECKING:
    from icd_assets.scoring.rl_data import RlQuery

_CHUNK = 64  # queries asked about at once


def rl_data(run: StepRun) -> Report:
    from icd_assets.scoring.rl_data import RlData, require_same_questions
    from icd_assets.scoring.rl_file import read_rl_data, write_rl_data
    from icd_assets.scoring.signal import facts

    experiment, path = run.experiment, run.experiment.paths.rl_data
    if run.config.path is not None:
        given = Path(run.config.path).absolute()
        data = read_rl_data(given, n_rows=len(experiment.data.train))
        require_same_questions(given, data, experiment.data.train)
        found = facts(data, experiment.reward, experiment.task.metric_name.lower())
        return Report(files={given: given}, facts=found, origin="imported")
    data = RlData(queries=tuple(_answered(run)), meta=_meta(run))
    write_rl_data(run.staging / path.name, data)
    found = facts(data, experiment.reward, experiment.task.metric_name.lower())
    return Report(files={path: run.staging / path.name}, facts=found)


def _answered(run: StepRun) -> list[RlQuery]:
    import torch

    from icd_assets.scoring.collect import answer_proposals
    from icd_assets.selector.proposals import propose

    experiment, config = run.experiment, run.config
    library, pools = experiment.data.train, inputs.train_pools(run)
    metric = inputs.metric(run, library)
    inputs.require_images(run, (library[row] for row in sorted({*pools, *inputs.rows_of(pools)})))
    embeddings = inputs.embeddings(run)
    policy = inputs.v2_policy(run)
    vlm = inputs.open_vlm(run)
    queries: list[RlQuery] = []
    rows = sorted(pools)
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        proposals = propose(
            policy,
            chunk,
            embeddings[chunk],
            embeddings[torch.tensor([pools[row] for row in chunk])],
            config,
        )
        queries += answer_proposals(
            [library[row] for row in chunk],
            pools,
            library,
            proposals,
            vlm,
            metric,
            gt_prob=run.spec.config["gt_prob"],
        )
        run.on_progress(len(queries), len(rows))
    return queries


def _meta(run: StepRun) -> dict[str, Any]:
    """What upstream's `_meta` says, and the lineage; no time of day, so that equal data are equal bytes."""
    model = run.experiment.model
    return {
        "vqa_model": model.name,
        "task_gen_args": {**model.generation.model_dump(), "do_sample": False},
        "strict_eval": True,
        "lineage": run.spec.lineage(),
    }
