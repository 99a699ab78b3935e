"""candidate_pools: the anchor queries, and the candidates that the sampler offers to each query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icd_assets.assets.step import Report, StepRun, step_asset

if TYPE_CHECKING:
    from icd_assets.datasets.vqa import VqaSplit
    from icd_assets.pools.similarity import SamplerFeatures


@step_asset("candidate_pools", kinds={"json"})
def candidate_pools(run: StepRun) -> Report:
    from icd_assets.pools.config import needs_features
    from icd_assets.pools.files import write_anchors, write_pools
    from icd_assets.pools.samplers import build_pools, draw_anchors

    experiment, config = run.experiment, run.config
    sampler, train, validation = experiment.cell.sampler, experiment.train, experiment.validation
    anchors = draw_anchors(len(train), experiment.dataset.sample_num, config.seed)
    of_train = of_validation = of_anchors = None
    if needs_features(sampler):
        of_train, of_validation = _features(run, train), _features(run, validation)
        of_anchors = type(of_train)(text=of_train.text[anchors], image=of_train.image[anchors])
    for_train = build_pools(
        sampler,
        [train[row] for row in anchors],
        train,
        config,
        same_split=True,
        query_features=of_anchors,
        library_features=of_train,
    )
    for_validation = build_pools(
        sampler,
        validation,
        train,
        config,
        same_split=False,
        query_features=of_validation,
        library_features=of_train,
        on_progress=run.on_progress,
    )
    write_pools(run.staging / "train.json", for_train)
    write_pools(run.staging / "validation.json", for_validation)
    write_anchors(run.staging / "anchors.json", anchors)
    paths = experiment.paths
    return Report(
        files={
            paths.train_pools: run.staging / "train.json",
            paths.validation_pools: run.staging / "validation.json",
            paths.anchors: run.staging / "anchors.json",
        },
        facts={
            "rows": len(for_train),
            "validation_queries": len(for_validation),
            "pool_size": config.pool_size,
            "train_rows": len(train),
        },
    )


def _features(run: StepRun, split: VqaSplit) -> SamplerFeatures:
    """CLIP projections of a split, kept by content: three samplers and all models share them."""
    import numpy as np

    from icd_assets.encoder import ClipEncoder
    from icd_assets.pools.similarity import SamplerFeatures

    experiment = run.experiment
    encoder_digest = run.want.inputs["sampler_encoder"].data_version
    folder = experiment.store.private / "features" / encoder_digest[:16]
    path = folder / f"{split.dataset}-{split.split}-{split.digest[:16]}.npz"
    if not path.is_file():
        entry = experiment.encoder(experiment.dataset.sampler_encoder)
        encoder = ClipEncoder.load(entry.path, revision=entry.revision, device=run.device)
        text, image = encoder.features(split, on_progress=run.on_progress)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = run.staging / "features.npz"
        np.savez(temporary, text=text, image=image)
        temporary.replace(path)
    with np.load(path, allow_pickle=False) as arrays:
        return SamplerFeatures(text=arrays["text"], image=arrays["image"])
