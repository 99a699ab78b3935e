"""rl_data: pointers proposed by the v2 selector and by baselines, each answered by the VLM and scored."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.assets import inputs
from icd_assets.assets.step import Report, StepRun, step_asset
from icd_assets.errors import UserError

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaSplit
    from icd_assets.scoring.rl_data import RlData, RlQuery

_CHUNK = 64  # queries asked about at once


@step_asset("rl_data", kinds={"json"})
def rl_data(run: StepRun) -> Report:
    from icd_assets.scoring.rl_data import RlData
    from icd_assets.scoring.rl_file import read_rl_data, write_rl_data

    path = run.experiment.paths.rl_data
    if run.config.path is not None:
        given = Path(run.config.path).absolute()
        data = read_rl_data(given, n_rows=len(run.experiment.train))
        _require_same_questions(given, data, run.experiment.train)
        return Report(files={given: given}, facts=_facts(run, data), origin="imported")
    data = RlData(queries=tuple(_answered(run)), meta=_meta(run))
    write_rl_data(run.staging / path.name, data)
    return Report(files={path: run.staging / path.name}, facts=_facts(run, data))


def _answered(run: StepRun) -> list[RlQuery]:
    import torch

    from icd_assets.scoring.generate import answer_proposals
    from icd_assets.selector.proposals import propose

    experiment, config = run.experiment, run.config
    library, pools = experiment.train, inputs.train_pools(run)
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
            gt_prob=run.want.config["gt_prob"],
        )
        run.on_progress(len(queries), len(rows))
    return queries


def _require_same_questions(path: Path, data: RlData, train: VqaSplit) -> None:
    """A file made from another dataset, or another order of its rows, would train on the wrong embeddings."""
    for query in data.queries:
        expected = train[query.row].question_id
        if query.question_id not in (None, expected):
            raise UserError(
                f"{path}: query {query.row} is question {query.question_id}, but row {query.row} of the train "
                f"split is question {expected}; use RL data of this dataset."
            )


def _meta(run: StepRun) -> dict[str, Any]:
    """What upstream's `_meta` says, and the lineage; no time of day, so that equal data are equal bytes."""
    model = run.experiment.model
    return {
        "vqa_model": model.name,
        "task_gen_args": {**model.generation.model_dump(), "do_sample": False},
        "strict_eval": True,
        "lineage": run.want.lineage(),
    }


def _facts(run: StepRun, data: RlData) -> dict[str, Any]:
    from icd_assets.scoring.signal import signal

    summary = asdict(signal(data, run.experiment.reward))
    by_source = summary.pop("score_by_source")
    score = "cider" if run.experiment.dataset.task == "caption" else "accuracy"
    counts = summary.pop("candidates_by_source")
    return {
        "rows": summary.pop("queries"),
        **summary,
        **{f"{score}_{source}": value for source, value in by_source.items()},
        **{f"candidates_{source}": value for source, value in counts.items()},
    }
