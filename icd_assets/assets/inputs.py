"""Reading what an asset is made from: verified files of upstream artifacts, as the library's types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icd_assets.assets.step_run import StepRun
from icd_assets.store.digests import sha256_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from icd_assets.datasets.vqa import VqaItem, VqaSplit
    from icd_assets.pools.similarity import SamplerFeatures
    from icd_assets.scoring.metric import Metric
    from icd_assets.selector.encoder import ClipEncoder
    from icd_assets.selector.groups import PointerGroup
    from icd_assets.selector.model import PointerSelectorV2
    from icd_assets.selector.v2_file import V2Checkpoint
    from icd_assets.vlm.backend import Backend
    from icd_assets.vlm.cached_backend import CachedBackend


def train_pools(run: StepRun) -> dict[int, tuple[int, ...]]:
    """Anchor row → its pool of train rows."""
    from icd_assets.pools.files import read_pools

    size = run.experiment.settings.shared.pool_size
    return run.read(
        "candidate_pools", lambda files, facts: read_pools(files[0], n_rows=facts["train_rows"], size=size)
    )


def sampler_features(
    run: StepRun, split: VqaSplit, items: Sequence[VqaItem], *, offered: bool = False
) -> SamplerFeatures:
    """CLIP projections of a split's rows, kept by content: three samplers and all models share them.

    ``offered``: as candidates, not as queries. A caption dataset's candidates have their caption for a text, its
    queries their image, in CLIP's shared space.

    ``items`` are the split or some rows of it. Memory-mapped: VQAv2's take 2.7 GB.
    """
    from icd_assets.pools.features import read_features, write_features

    experiment = run.experiment
    folder = experiment.store.private / "features" / run.spec.inputs["sampler_encoder"].data_version[:16]
    other = experiment.task.candidate_text if offered else None
    part = f"-{other.name}" if other else "" if len(items) == len(split) else _named([item.row for item in items])
    base, digests = folder / f"{split.dataset}-{split.split}{part}-{split.digest[:16]}", experiment.store.digests
    if (found := read_features(base, len(items), digests)) is None:
        from icd_assets.pools.similarity import SamplerFeatures
        from icd_assets.selector.encoder import ClipEncoder

        require_images(run, items)
        entry = experiment.encoder(experiment.dataset.sampler_encoder)
        encoder = ClipEncoder.load(entry.path, revision=entry.revision, device=run.device)
        text, image = encoder.features(items, on_progress=run.on_progress)
        if other:
            text = encoder.text_features([other.of(item) for item in items], on_progress=run.on_progress).numpy()
        made = SamplerFeatures(text=text, image=image)
        write_features(base, made, digests)
        found = read_features(base, len(items), digests) or made
    return found


def _named(rows: list[int]) -> str:
    """Some rows of a split in a file name."""
    first = rows == list(range(len(rows)))
    return f"-first{len(rows)}" if first else f"-rows{sha256_json(rows)[:8]}"


def require_images(run: StepRun, items: Iterable[VqaItem]) -> None:
    """The images that the step is about to read are there and whole."""
    from icd_assets.datasets.images import require_images

    require_images(items, run.experiment.store.private, run.on_progress)


def metric(run: StepRun, corpus: Sequence[VqaItem]) -> Metric:
    """The metric of the cell's task; ``corpus`` are the items that may weigh words."""
    return run.experiment.task.metric(corpus)


def rows_of(pools: Mapping[int, Sequence[int]]) -> list[int]:
    """Every row that some pool offers, ascending."""
    return sorted({row for pool in pools.values() for row in pool})


def open_vlm(run: StepRun) -> CachedBackend:
    """The cell's VLM, on this step's device or served; what it answered before is not asked again."""
    from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend

    backend = _served_vlm(run) if run.experiment.model.endpoint is not None else _local_vlm(run)
    return CachedBackend(backend, AnswerStore(run.experiment.store.private / "answers.sqlite"))


def _served_vlm(run: StepRun) -> Backend:
    from icd_assets.vlm.endpoint import require_client

    require_client()
    from icd_assets.vlm.endpoint_backend import EndpointBackend

    model = run.experiment.model
    assert model.endpoint is not None
    return EndpointBackend(model.endpoint, style=model.prompt, generation=model.generation)


def _local_vlm(run: StepRun) -> Backend:
    from icd_assets.vlm.transformers_backend import TransformersBackend
    from icd_assets.vlm.weights import locate

    model = run.experiment.model
    assert model.path is not None
    return TransformersBackend.load(
        str(locate(model.path, model.revision)),
        digest=run.spec.inputs["vlm"].data_version,
        style=model.prompt,
        generation=model.generation,
        dtype=model.dtype,
        device=run.device,
        batch_size=model.batch_size,
        min_pixels=model.min_pixels,
        max_pixels=model.max_pixels,
    )


def catalog_encoder(run: StepRun) -> ClipEncoder:
    """The dataset's encoder, as the catalog names it."""
    from icd_assets.selector.encoder import ClipEncoder

    entry = run.experiment.encoder(run.experiment.dataset.encoder)
    return ClipEncoder.load(entry.path, revision=entry.revision, device=run.device)


def encoder_of(run: StepRun, checkpoint: V2Checkpoint) -> ClipEncoder:
    """The encoder inside a v2 checkpoint."""
    from icd_assets.selector.encoder import ClipEncoder

    entry = run.experiment.encoder(run.experiment.dataset.encoder)
    return ClipEncoder.of_checkpoint(checkpoint.towers, entry.path, revision=entry.revision, device=run.device)


def v2_checkpoint(run: StepRun) -> V2Checkpoint:
    from icd_assets.selector.v2_file import read_v2

    return run.read("v2_checkpoint", lambda files, _: read_v2(files[0]))


def v2_encoder(run: StepRun) -> ClipEncoder:
    """The encoder that the v2 checkpoint was trained with."""
    return encoder_of(run, v2_checkpoint(run))


def v2_policy(run: StepRun) -> PointerSelectorV2:
    """The supervised selector, in eval mode."""
    from icd_assets.selector.v2_file import read_v2
    from icd_assets.selector.v3_file import load_policy

    return run.read(
        "v2_checkpoint", lambda files, _: load_policy(read_v2(files[0]).state, files[0], device=run.device)
    )


def last_epoch(run: StepRun, asset: str) -> PointerSelectorV2:
    """The selector of a training's last ``.pt``, in eval mode."""
    from icd_assets.selector.v3_file import load_policy, read_v3

    return run.read(
        asset,
        lambda files, _: load_policy(read_v3(files[-1]).model_state_dict, files[-1], device=run.device),
    )


def embeddings(run: StepRun) -> Tensor:
    """Every train row's embedding [n, D]."""
    from icd_assets.selector.embedding_file import read_embeddings

    return run.read("embeddings", lambda files, _: read_embeddings(files[0], rows=len(run.experiment.data.train)))


def training_groups(run: StepRun) -> list[PointerGroup]:
    """RL data under the run's reward as groups to train on (SPEC I)."""
    import torch

    from icd_assets.scoring.rl_file import read_rl_data
    from icd_assets.scoring.training_rows import training_rows
    from icd_assets.selector.groups import PointerGroup

    experiment, config = run.experiment, run.config
    data = run.read("rl_data", lambda files, _: read_rl_data(files[0], n_rows=len(experiment.data.train)))
    rows = training_rows(
        data,
        experiment.reward,
        skip_fallback=config.skip_fallback_reward,
        require_positive=config.require_positive_query,
    )
    vectors = embeddings(run)
    groups = []
    for row in rows:
        known = all(value is not None for value in row.behavior_logprobs)
        groups.append(
            PointerGroup(
                query_row=row.query_row,
                query=vectors[row.query_row],
                pool=vectors[list(row.pool_ids)],
                pointers=torch.tensor(row.pointers),
                rewards=torch.tensor(row.rewards),
                behavior_logprobs=torch.tensor(row.behavior_logprobs) if known else None,
            )
        )
    return groups
