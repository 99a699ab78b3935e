"""Reading what an asset is made from: verified files of upstream artifacts, as the library's types."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from icd_assets.assets.step_run import StepRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from icd_assets.datasets.vqa import VqaItem, VqaSplit
    from icd_assets.pools.rl_queries import RlPools
    from icd_assets.pools.similarity import SamplerFeatures
    from icd_assets.scoring.infoscore import QueryBeams
    from icd_assets.scoring.metric import Metric
    from icd_assets.scoring.rl_data import RlData
    from icd_assets.scoring.step_label_file import StepLabelFile
    from icd_assets.selector.encoder import ClipEncoder
    from icd_assets.selector.groups import PointerGroup
    from icd_assets.selector.model import PointerSelector
    from icd_assets.selector.selector_file import EncoderName
    from icd_assets.selector.v2_file import V2Checkpoint
    from icd_assets.tasks import CandidateText
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
) -> SamplerFeatures | None:
    """CLIP projections of a split's rows, kept by content: three samplers and all models share them.

    None if the cell's sampler compares nothing. ``items`` are the split or some rows of it. Memory-mapped: VQAv2's
    take 2.7 GB.

    ``offered``: as candidates, not as queries. A caption dataset's candidates have their caption for a text, its
    queries their image, in CLIP's shared space.
    """
    from icd_assets.pools.config import SAMPLERS
    from icd_assets.pools.features import features_base, read_or_make

    experiment = run.experiment
    if not SAMPLERS[experiment.cell.sampler].needs_features:
        return None
    other = experiment.task.candidate_text if offered else None
    folder = experiment.store.caches / "features" / run.spec.inputs["sampler_encoder"].data_version[:16]
    base = features_base(folder, split, items, texts=other.name if other else None)
    parts = base.with_name(f"{base.name}.parts")
    found = read_or_make(base, len(items), experiment.store.digests, lambda: _encoded(run, items, other, parts))
    shutil.rmtree(parts, ignore_errors=True)
    return found


def _encoded(run: StepRun, items: Sequence[VqaItem], other: CandidateText | None, parts: Path) -> SamplerFeatures:
    from icd_assets.pools.similarity import SamplerFeatures
    from icd_assets.selector.encoded_parts import EncodedParts
    from icd_assets.selector.encoder import ClipEncoder

    require_images(run, items)
    entry = run.experiment.encoder(run.experiment.dataset.sampler_encoder)
    encoder = ClipEncoder.load(entry.path, revision=entry.revision, device=run.device)
    keep = EncodedParts(parts)
    text, image = encoder.features(items, on_progress=run.on_progress, keep=keep)
    if other:
        texts = [other.of(item) for item in items]
        text = encoder.text_features(texts, on_progress=run.on_progress, keep=keep).numpy()
    return SamplerFeatures(text=text, image=image)


def require_images(run: StepRun, items: Iterable[VqaItem]) -> None:
    """The images that the step is about to read are there and whole."""
    from icd_assets.datasets.images import require_images

    require_images(items, run.experiment.store.caches, run.on_progress)


def metric(run: StepRun, corpus: Sequence[VqaItem]) -> Metric:
    """The metric of the cell's task; ``corpus`` are the items that may weigh words."""
    return run.experiment.task.metric(corpus)


def open_vlm(run: StepRun) -> CachedBackend:
    """The cell's VLM, on this step's GPUs or served; what it answered before is not asked again. To be closed."""
    from icd_assets.experiment.checks.texts import SPLITS, require_texts
    from icd_assets.runtime.device import places
    from icd_assets.vlm.answers import open_answers
    from icd_assets.vlm.cached_backend import CachedBackend

    require_texts(run.experiment, SPLITS if run.spec.asset == "evaluation" else ("train",))
    model = run.experiment.model
    backend = model.backend.open_in(
        places(run.device),
        digest=run.spec.inputs["vlm"].data_version,
        style=model.prompt,
        generation=model.generation,
        device=run.device,
        pictures=run.experiment.store.caches / "pictures",
    )
    cached = CachedBackend(backend, open_answers(run.experiment.store.answers))
    run.asked.append(cached)
    return cached


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


def encoder(run: StepRun) -> ClipEncoder:
    """Of whose embeddings the cell's selectors are: the catalog's, or that inside its v2 checkpoint."""
    return catalog_encoder(run) if "encoder" in run.spec.inputs else v2_encoder(run)


def v2_policy(run: StepRun) -> PointerSelector:
    """The supervised selector, in eval mode."""
    from icd_assets.selector.v2_file import read_v2
    from icd_assets.selector.v3_file import load_policy

    return run.read(
        "v2_checkpoint", lambda files, _: load_policy(read_v2(files[0]).state, files[0], device=run.device)
    )


def selector(run: StepRun, asset: str) -> PointerSelector:
    """A trained selector of a recipe of labels, in eval mode."""
    from icd_assets.selector.selector_file import read_selector

    policy = run.read(asset, lambda files, _: read_selector(files[0].parent).policy)
    return policy.to(run.device).eval()


def labels(run: StepRun, asset: str) -> StepLabelFile:
    """Labels of candidates, with each query's pool."""
    from icd_assets.scoring.step_label_file import read_step_labels

    rows = len(run.experiment.data.train)
    return run.read(asset, lambda files, _: read_step_labels(files[0], n_rows=rows))


def rl_data(run: StepRun) -> RlData:
    from icd_assets.scoring.rl_file import read_rl_data

    return run.read("rl_data", lambda files, _: read_rl_data(files[0], n_rows=len(run.experiment.data.train)))


def rl_queries(run: StepRun) -> RlPools | None:
    """RL's own queries with their pools; None where RL data are of the anchors."""
    if "rl_queries" not in run.spec.inputs:
        return None
    from icd_assets.pools.rl_query_file import read_rl_queries

    size, rows = run.experiment.settings.shared.pool_size, len(run.experiment.data.train)
    return run.read("rl_queries", lambda files, _: read_rl_queries(files[0], n_rows=rows, size=size))


def encoder_digest(run: StepRun) -> str:
    """Of the encoder whose embeddings the run reads."""
    return run.read("embeddings", lambda _, facts: str(facts["encoder_digest"]))


def encoder_name(run: StepRun) -> EncoderName:
    """What the catalog calls that encoder; a folder of this machine is no place for others to find it."""
    from icd_assets.runtime.user_path import expanded
    from icd_assets.selector.selector_file import EncoderName

    entry = run.experiment.encoder(run.experiment.dataset.encoder)
    here = expanded(entry.path).is_dir()
    return EncoderName(name=entry.name, path=None if here else entry.path, revision=entry.revision)


def last_epoch(run: StepRun, asset: str) -> PointerSelector:
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
    from icd_assets.scoring.groups import groups_of_rl_data
    from icd_assets.scoring.rewards import computable

    experiment, config, data = run.experiment, run.config, rl_data(run)
    unusable = sum(not computable(found, experiment.reward) for query in data.queries for found in query.pointers)
    if unusable:
        run.note(f"{unusable} pointers are left out: a label that their reward reads is not a finite number")
    return groups_of_rl_data(
        data,
        experiment.reward,
        embeddings(run),
        skip_fallback=config.skip_fallback_reward,
        require_positive=config.require_positive_query,
    )


def beams(run: StepRun, pools: Mapping[int, Sequence[int]]) -> dict[int, QueryBeams]:
    """Anchor row → its beams, each of candidates in its pool."""
    from icd_assets.scoring.beam_file import read_beams, require_in_pools

    def read(files: list[Path], _: object) -> dict[int, QueryBeams]:
        found = read_beams(files[0])
        require_in_pools(files[0], found, pools)
        return found

    return run.read("beam_data", read)
