"""candidate_pools: the anchor queries, and the candidates that the sampler offers to each of them."""

from __future__ import annotations

from icd_assets.assets import inputs
from icd_assets.assets.step_run import Report, StepRun


def candidate_pools(run: StepRun) -> Report:
    from icd_assets.pools.files import write_anchors, write_pools
    from icd_assets.pools.samplers import build_pools, draw_anchors

    experiment, config = run.experiment, run.config
    train = experiment.data.train
    asked = experiment.dataset.sample_num
    anchors = draw_anchors(len(train), asked, config.seed)
    facts = {"rows": len(anchors), "pool_size": config.pool_size, "train_rows": len(train)}
    if len(anchors) < asked:
        run.note(f"sample_num is {asked}, but the train split has {len(train)} questions: all of them are taken")
        facts["sample_num"] = asked
    if train.left_out:
        facts["left_out"] = len(train.left_out)
    offered = inputs.sampler_features(run, train, train, offered=True)
    alike = experiment.task.candidate_text is None  # a row has the same features as query and as candidate
    as_queries = offered if alike else inputs.sampler_features(run, train, train)
    pools = build_pools(
        experiment.cell.sampler,
        [train[row] for row in anchors],
        train,
        config,
        same_split=True,
        query_features=None if as_queries is None else as_queries.of(anchors),
        library_features=offered,
        on_progress=run.on_progress,
    )
    write_pools(run.staging / "train.json", pools)
    write_anchors(run.staging / "anchors.json", anchors)
    paths = experiment.paths
    return Report(
        files={paths.train_pools: run.staging / "train.json", paths.anchors: run.staging / "anchors.json"},
        facts=facts,
    )
