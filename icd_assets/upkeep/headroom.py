"""The headroom of a cell: from RL data that are there, and from a sample of queries that the model is asked.

Sampled are rows of the train split that have no candidate pool, so that no selector of ours was fitted to them;
each gets a random pool. The answers are kept in answers.sqlite: a second look asks nothing again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from icd_assets.datasets.images import require_images
from icd_assets.errors import UserError
from icd_assets.evaluation.headroom import SampledHeadroom, StoredHeadroom, of_sampled, of_stored
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.fitted_rows import fitted_rows, score_limit
from icd_assets.experiment.recipes import last_trained, stage_name
from icd_assets.runtime.device import lease
from icd_assets.runtime.locks import Holder
from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.runtime.seeding import python_rng
from icd_assets.scoring.headroom import measure, prompts_of_a_query, stored_losses

if TYPE_CHECKING:
    from torch import Tensor

    from icd_assets.selector.model import PointerSelector

_SHOTS = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """Which queries are asked, from which pools, and how many prompts that takes at most."""

    rows: tuple[int, ...]
    pools: dict[int, tuple[int, ...]]
    fitted: bool  # whether the split had no other rows than those with a candidate pool
    prompts: int


@dataclass(frozen=True, slots=True)
class Measured:
    found: SampledHeadroom
    policy: str  # a selector as tables call it, or similarity
    asked: int
    reused: int


def stored(experiment: Experiment) -> dict[str, StoredHeadroom]:
    """By whether SFT was fitted to the rows; empty without RL data, or without a policy's beams in them."""
    from icd_assets.scoring.rl_file import read_rl_data

    if experiment.manifest("rl_data") is None:
        return {}
    data = read_rl_data(experiment.files("rl_data")[0], n_rows=len(experiment.data.train))
    losses = stored_losses(data)
    return of_stored(losses, fitted_rows(experiment), score_limit(experiment)) if losses else {}


def sample(experiment: Experiment, budget: int) -> Sample:
    """As many queries as ``budget`` prompts allow. Raises ``UserError`` where that is less than two."""
    train, size = experiment.data.train, experiment.settings.shared.pool_size
    if len(train) - 1 < _SHOTS:
        raise UserError(
            f"the train split has {len(train)} questions; two demonstrations of others take at least 3."
        )
    size = min(size, len(train) - 1)
    each = prompts_of_a_query(size)
    if budget < 2 * each:
        raise UserError(
            f"--budget is {budget}, but one query takes {each} prompts at a pool of {size}; give {2 * each} or "
            "more."
        )
    with_pool = _rows_with_pool(experiment)
    others = [row for row in range(len(train)) if row not in with_pool]
    rng = python_rng(experiment.settings.shared.seed, "headroom", "queries")
    fitted = len(others) < 2
    drawn = rng.sample(
        range(len(train)) if fitted else others, min(budget // each, len(train) if fitted else len(others))
    )
    pools = {row: _pool(experiment, row, size) for row in drawn}
    rows = tuple(row for row in drawn if len(pools[row]) >= _SHOTS)
    if len(rows) < 2:
        raise UserError(
            "too few train questions have two demonstrations of other images; nothing can be measured."
        )
    return Sample(rows, pools, fitted, sum(prompts_of_a_query(len(pools[row])) for row in rows))


def _rows_with_pool(experiment: Experiment) -> Collection[int]:
    from icd_assets.pools.files import read_pools

    if (manifest := experiment.manifest("candidate_pools")) is None:
        return ()
    path, size = experiment.store.files(manifest)[0], experiment.settings.shared.pool_size
    return set(read_pools(path, n_rows=len(experiment.data.train), size=size))


def _pool(experiment: Experiment, row: int, size: int) -> tuple[int, ...]:
    """Random rows of other questions and other images, as a random sampler's pools."""
    train = experiment.data.train
    rng = python_rng(experiment.settings.shared.seed, "headroom", "pool", row)
    image = train.image_ids[row]
    offered = [other for other in range(len(train)) if other != row and train.image_ids[other] != image]
    return tuple(rng.sample(offered, min(size, len(offered))))


def ask(experiment: Experiment, drawn: Sample, on_progress: OnProgress = ignore) -> Measured:
    """Raises ``UserError`` for a GPU at work, a model that cannot be opened, a picture that is not there."""
    from icd_assets.vlm.answers import open_answers
    from icd_assets.vlm.cached_backend import CachedBackend

    train, model = experiment.data.train, experiment.model
    if model.unsupported is not None:
        raise UserError(model.unsupported)
    needed = sorted({*drawn.rows, *(row for one in drawn.rows for row in drawn.pools[one])})
    require_images([train[row] for row in needed], experiment.store.private)

    def busy(sentence: str) -> None:
        raise UserError(f"nothing asked: {sentence}.")

    with lease(Holder("icd-assets headroom"), busy) as device:
        choices, policy = _choices(experiment, drawn, needed, device)
        backend = model.backend.open(
            digest=model.backend.digest(experiment.store.digests, fetch=False),
            style=model.prompt,
            generation=model.generation,
            device=device,
        )
        with open_answers(experiment.store.answers) as store:
            cached = CachedBackend(backend, store)
            queries = [train[row] for row in drawn.rows]
            metric = experiment.task.metric(train)
            found = measure(queries, drawn.pools, train, cached, metric, choices, on_progress)
    return Measured(of_sampled(found, score_limit(experiment)), policy, cached.asked, cached.reused)


def _choices(
    experiment: Experiment, drawn: Sample, needed: Sequence[int], device: str
) -> tuple[dict[int, tuple[int, ...]], str]:
    """The policy's two demonstrations of each query, in prompt order."""
    import torch

    from icd_assets.selector.decoding import greedy
    from icd_assets.selector.embedding_file import read_embeddings

    trained = _trained(experiment) if experiment.manifest("embeddings") is not None else None
    if trained is not None:
        embeddings = read_embeddings(experiment.files("embeddings")[0], rows=len(experiment.data.train))
        place = {row: row for row in needed}
    else:
        embeddings, place = _encoded(experiment, needed, device), {row: at for at, row in enumerate(needed)}
    chosen = {}
    for row in drawn.rows:
        pool = drawn.pools[row]
        query, candidates = embeddings[place[row]], embeddings[[place[other] for other in pool]]
        if trained is None:
            # The most similar one next to the query, as the similarity strategies of an evaluation.
            near = torch.nn.functional.cosine_similarity(query[None], candidates).argsort(descending=True)
            picks = near[:_SHOTS].flip(0).tolist()
        else:
            policy = trained.policy.to(device)
            picks = greedy(policy, query[None].to(device), candidates[None].to(device), _SHOTS)[0].tolist()
        chosen[row] = tuple(pool[at] for at in picks)
    return chosen, "similarity" if trained is None else trained.name


class _Trained(NamedTuple):
    policy: PointerSelector
    name: str


def _trained(experiment: Experiment) -> _Trained | None:
    """The last selector that the cell's recipe trained; of beams the v2 selector, from which RL goes on."""
    from icd_assets.selector.selector_file import read_selector
    from icd_assets.selector.v2_file import read_v2
    from icd_assets.selector.v3_file import load_policy

    if (asset := last_trained(experiment)) is not None:
        policy = read_selector(experiment.paths.selector(asset)).policy
        return _Trained(policy, stage_name(asset, policy.config.architecture))
    if experiment.manifest("v2_checkpoint") is None:
        return None
    path = experiment.files("v2_checkpoint")[0]
    return _Trained(load_policy(read_v2(path).state, path), "the v2 selector")


def _encoded(experiment: Experiment, rows: Sequence[int], device: str) -> Tensor:
    from icd_assets.selector.encoder import ClipEncoder

    entry = experiment.encoder(experiment.dataset.encoder)
    encoder = ClipEncoder.load(entry.path, revision=entry.revision, device=device)
    return encoder.encode([experiment.data.train[row] for row in rows])
