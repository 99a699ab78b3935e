"""embeddings: the encoder's image+question embedding of every train row, the v2 checkpoint's or the catalog's."""

from __future__ import annotations

from icd_assets.assets import inputs
from icd_assets.assets.step_run import Report, StepRun


def embeddings(run: StepRun) -> Report:
    from icd_assets.selector.embedding_file import write_embeddings
    from icd_assets.selector.encoded_parts import EncodedParts

    experiment = run.experiment
    inputs.require_images(run, experiment.data.train)
    encoder = inputs.encoder(run)
    tensor = encoder.encode(
        experiment.data.train,
        batch_size=run.config.batch_size,
        on_progress=run.on_progress,
        keep=EncodedParts(run.staging),
    )
    paths = experiment.paths
    staged = {paths.query_embeddings: "query.pt", paths.candidate_embeddings: "candidate.pt"}
    for name in staged.values():  # upstream reads two files; ours, like its, are equal
        write_embeddings(run.staging / name, tensor)
    return Report(
        files={final: run.staging / name for final, name in staged.items()},
        facts={"rows": tensor.size(0), "width": tensor.size(1), "encoder_digest": encoder.digest},
    )
