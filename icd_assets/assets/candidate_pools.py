"""candidate_pools: the anchor queries, and the candidates that the sampler offers to each of them."""

from __future__ import annotations

from icd_assets.assets import inputs
from icd_assets.assets.step_run import Report, StepRun


def candidate_pools(run: StepRun) -> Report:
    from icd_assets.pools.config import SAMPLERS
    from icd_assets.pools.files import write_anchors, write_pools
    from icd_assets.pools.samplers import build_pools, draw_anchors

    experiment, config = run.experiment, run.config
    sampler, train = experiment.cell.sampler, experiment.data.train
    anchors = draw_anchors(len(train), experiment.dataset.sample_num, config.seed)
    of_train = of_anchors = None
    if SAMPLERS[sampler].needs_features:
        of_train = inputs.sampler_features(run, train, train, offered=True)
        alike = experiment.task.candidate_text is None  # a row has the same features as query and as candidate
        as_queries = of_train if alike else inputs.sampler_features(run, train, train)
        of_anchors = as_queries.of(anchors)
    pools = build_pools(
        sampler,
        [train[row] for row in anchors],
        train,
        config,
        same_split=True,
        query_features=of_anchors,
        library_features=of_train,
        on_progress=run.on_progress,
    )
    write_pools(run.staging / "train.json", pools)
    write_anchors(run.staging / "anchors.json", anchors)
    paths = experiment.paths
    return Report(
        files={paths.train_pools: run.staging / "train.json", paths.anchors: run.staging / "anchors.json"},
        facts={"rows": len(pools), "pool_size": config.pool_size, "train_rows": len(train)},
    )
