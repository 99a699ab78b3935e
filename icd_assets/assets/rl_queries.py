"""rl_queries: queries for RL that no selector was fitted to, and the candidates that are offered to each."""

from __future__ import annotations

from icd_assets.assets import inputs
from icd_assets.assets.step_run import Report, StepRun


def rl_queries(run: StepRun) -> Report:
    from icd_assets.pools.config import PoolConfig
    from icd_assets.pools.rl_queries import draw_rl_queries
    from icd_assets.pools.rl_query_file import write_rl_queries
    from icd_assets.pools.samplers import build_pools

    experiment, config, train = run.experiment, run.config, run.experiment.data.train
    anchors = inputs.train_pools(run)
    drawn = draw_rl_queries(
        len(train),
        anchors,
        rows=config.rows,
        validation_rows=config.validation_rows,
        seed=config.seed,
        with_anchors=config.with_anchors,
    )
    rows = [row for row in (*drawn.train, *drawn.validation) if row not in anchors]
    offered = inputs.sampler_features(run, train, train, offered=True)
    alike = experiment.task.candidate_text is None  # a row has the same features as query and as candidate
    as_queries = offered if alike else inputs.sampler_features(run, train, train)
    made = {name: value for name, value in run.spec.config["pools"].items() if name != "sampler"}
    pools = build_pools(
        experiment.cell.sampler,
        [train[row] for row in rows],
        train,
        PoolConfig(**made),
        same_split=True,
        query_features=None if as_queries is None else as_queries.of(rows),
        library_features=offered,
        on_progress=run.on_progress,
    )
    path = experiment.paths.rl_queries
    write_rl_queries(run.staging / "queries.json", drawn, {**anchors, **pools})  # an anchor keeps the pool it has
    return Report(
        files={path: run.staging / "queries.json"},
        facts={
            "rows": len(drawn.train) + len(drawn.validation),
            "rows_train": len(drawn.train),
            "rows_validation": len(drawn.validation),
            "rows_that_are_anchors": sum(row in anchors for row in drawn.train),
            "train_rows": len(train),
        },
    )
